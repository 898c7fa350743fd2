// Command interop is the other side of `make interop`: logs, proofs and cosignatures as Go's
// libraries and Tessera make them, and their verdict on what Passerelle makes.
//
//	interop grow  < settings > what was made: a log by Tessera's POSIX driver
//	interop judge < cases > verdicts: one JSON value a line, in the order of the cases
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/klog/v2"
)

func main() {
	// Tessera logs every step; what matters comes back as an error.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: interop grow|judge")
	}
	out := bufio.NewWriter(os.Stdout)
	var err error
	switch os.Args[1] {
	case "grow":
		err = runGrow(ctx, out)
	case "judge":
		err = runJudge(ctx, out)
	default:
		err = fmt.Errorf("no such command: %q", os.Args[1])
	}
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return err
}

func runGrow(ctx context.Context, out io.Writer) error {
	var s settings
	if err := strict(os.Stdin).Decode(&s); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	made, err := grow(ctx, s)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(made)
}

func runJudge(ctx context.Context, out io.Writer) error {
	in, answers := strict(bufio.NewReader(os.Stdin)), json.NewEncoder(out)
	for number := 0; ; number++ {
		var c judged
		if err := in.Decode(&c); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("case %d: %w", number, err)
		}
		if err := answers.Encode(judge(ctx, c)); err != nil {
			return err
		}
	}
}

func strict(in io.Reader) *json.Decoder {
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	return decoder
}
