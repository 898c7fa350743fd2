package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// largest is the largest size that x/mod is given: its search for a power of two does not end for
// larger ones. They are refused here.
const largest = 1 << 62

// judged is something to accept or to refuse. Which parts it has depends on its kind.
type judged struct {
	Kind  string            `json:"kind"`
	Parts map[string][]byte `json:"parts"`
}

// verdict says whether it was accepted, and as what: two texts with one meaning say the same.
type verdict struct {
	OK      bool   `json:"ok"`
	Meaning string `json:"meaning"`
	Why     string `json:"why"`
}

func judge(ctx context.Context, c judged) (v verdict) {
	defer func() {
		// A library that panics has not accepted.
		if p := recover(); p != nil {
			v = verdict{Why: fmt.Sprintf("panic: %v", p)}
		}
	}()
	meaning, err := meaningOf(ctx, c)
	if err != nil {
		return verdict{Why: err.Error()}
	}
	return verdict{OK: true, Meaning: meaning}
}

func meaningOf(ctx context.Context, c judged) (string, error) {
	switch c.Kind {
	case "log_key":
		return keyMeaning(c, note.NewVerifier)
	case "witness_key":
		return keyMeaning(c, fnote.NewVerifierForCosignatureV1)
	case "checkpoint", "cosigned":
		o, err := open(c, c.Parts["note"])
		if err != nil {
			return "", err
		}
		return o.meaning, nil
	case "inclusion":
		return inclusion(c)
	case "consistency":
		return consistency(c)
	case "proof":
		return offlineProof(c)
	case "tiles":
		return check(ctx, c)
	case "tile_proofs":
		return proofsFromTiles(ctx, c)
	}
	return "", fmt.Errorf("no such kind: %q", c.Kind)
}

// keyMeaning reads a key and opens with it what it is said to have signed.
func keyMeaning(c judged, parse func(string) (note.Verifier, error)) (string, error) {
	v, err := parse(string(c.Parts["key"]))
	if err != nil {
		return "", err
	}
	logKey, others := v, []note.Verifier{}
	if c.Kind == "witness_key" {
		others = append(others, v)
		if logKey, err = note.NewVerifier(string(c.Parts["log_key"])); err != nil {
			return "", err
		}
	}
	cp, rest, n, err := log.ParseCheckpoint(c.Parts["note"], logKey.Name(), logKey, others...)
	if err != nil {
		return "", err
	}
	if _, err := counted(cp, rest, n, others); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s|%08x", v.Name(), v.KeyHash()), nil
}

// opened is a checkpoint that the log and all the witnesses of a case have signed.
type opened struct {
	tree    tlog.Tree
	meaning string
}

func open(c judged, text []byte) (*opened, error) {
	logKey, err := note.NewVerifier(string(c.Parts["log_key"]))
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	var witnesses []note.Verifier
	for _, key := range strings.Fields(string(c.Parts["witness_keys"])) {
		w, err := fnote.NewVerifierForCosignatureV1(key)
		if err != nil {
			return nil, fmt.Errorf("a witness's key: %w", err)
		}
		witnesses = append(witnesses, w)
	}
	cp, rest, opened, err := log.ParseCheckpoint(text, logKey.Name(), logKey, witnesses...)
	if err != nil {
		return nil, err
	}
	return counted(cp, rest, opened, witnesses)
}

func counted(
	cp *log.Checkpoint, rest []byte, n *note.Note, witnesses []note.Verifier,
) (*opened, error) {
	tree, err := treeOf(cp)
	if err != nil {
		return nil, err
	}
	var cosigned []string
	for _, w := range witnesses {
		at := slices.IndexFunc(n.Sigs, func(s note.Signature) bool {
			return s.Name == w.Name() && s.Hash == w.KeyHash()
		})
		if at < 0 {
			return nil, fmt.Errorf("%s has not cosigned", w.Name())
		}
		time, err := fnote.CoSigV1Timestamp(n.Sigs[at])
		if err != nil {
			return nil, err
		}
		cosigned = append(cosigned, fmt.Sprintf("%s@%d", w.Name(), time.Unix()))
	}
	slices.Sort(cosigned)
	meaning := fmt.Sprintf("%s|%d|%x|%s", cp.Origin, tree.N, tree.Hash[:],
		strings.Join(cosigned, ","))
	if len(rest) > 0 {
		meaning += fmt.Sprintf("|extension %x", rest)
	}
	return &opened{tree: tree, meaning: meaning}, nil
}

func treeOf(cp *log.Checkpoint) (tlog.Tree, error) {
	hash, err := hashOf(cp.Hash)
	if err != nil || cp.Size > largest {
		return tlog.Tree{}, errors.New("not a tree: size or hash")
	}
	return tlog.Tree{N: int64(cp.Size), Hash: hash}, nil
}

func hashOf(b []byte) (hash tlog.Hash, err error) {
	if len(b) != tlog.HashSize {
		return hash, fmt.Errorf("a hash of %d bytes", len(b))
	}
	copy(hash[:], b)
	return hash, nil
}

func (c judged) number(name string) (int64, error) {
	number, err := strconv.ParseInt(string(c.Parts[name]), 10, 64)
	if err == nil && number > largest {
		err = errors.New("a number beyond what x/mod can take")
	}
	return number, err
}

func (c judged) hash(name string) (tlog.Hash, error) {
	return hashOf(c.Parts[name])
}

func (c judged) hashes(name string) (hashes []tlog.Hash, err error) {
	for chunk := range slices.Chunk(c.Parts[name], tlog.HashSize) {
		hash, err := hashOf(chunk)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func inclusion(c judged) (string, error) {
	index, err1 := c.number("index")
	size, err2 := c.number("size")
	root, err3 := c.hash("root")
	hashes, err4 := c.hashes("hashes")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return "", err
	}
	leaf := tlog.RecordHash(c.Parts["entry"])
	return "included", tlog.CheckRecord(hashes, size, root, index, leaf)
}

func consistency(c judged) (string, error) {
	oldSize, err1 := c.number("old_size")
	oldRoot, err2 := c.hash("old_root")
	newSize, err3 := c.number("new_size")
	newRoot, err4 := c.hash("new_root")
	hashes, err5 := c.hashes("hashes")
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return "", err
	}
	return "consistent", tlog.CheckTree(hashes, newSize, newRoot, oldSize, oldRoot)
}

// offlineProof checks a proof of c2sp.org/tlog-proof for an entry.
func offlineProof(c judged) (string, error) {
	var p proof.TLogProof
	if err := p.Unmarshal(c.Parts["proof"]); err != nil {
		return "", err
	}
	o, err := open(c, p.Checkpoint)
	if err != nil {
		return "", err
	}
	if p.Index > math.MaxInt64 {
		return "", errors.New("an index beyond every tree")
	}
	var hashes []tlog.Hash
	for _, hash := range p.Hashes {
		hashes = append(hashes, tlog.Hash(hash))
	}
	leaf := tlog.RecordHash(c.Parts["entry"])
	err = tlog.CheckRecord(hashes, o.tree.N, o.tree.Hash, int64(p.Index), leaf)
	extra := hex.EncodeToString(p.ExtraData)
	return fmt.Sprintf("%d|%x|%s|%s", p.Index, leaf[:], extra, o.meaning), err
}

// seedOf is the seed in a private key as x/mod writes it.
func seedOf(skey string) ([]byte, error) {
	// PRIVATE+KEY+name+id+key, and the base64 of the key may have a `+` of its own.
	parts := strings.SplitN(skey, "+", 5)
	if len(parts) != 5 {
		return nil, errors.New("not a private key of x/mod")
	}
	key, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(key) != 33 || !bytes.HasPrefix(key, []byte{1}) {
		return nil, errors.New("not a private key of x/mod")
	}
	return key[1:], nil
}
