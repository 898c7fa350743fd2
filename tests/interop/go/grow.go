package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Entries that Tessera is given before their places are asked for.
const atOnce = 2048

// Longest wait for a checkpoint.
const publication = 60 * time.Second

// settings of a log to grow.
type settings struct {
	// Dir is where the log goes; it must not exist.
	Dir string `json:"dir"`
	// LogKey and LogPrivateKey are the log's keys as Passerelle writes them.
	LogKey        string `json:"log_key"`
	LogPrivateKey string `json:"log_private_key"`
	// Policy names the witnesses that Tessera asks for cosignatures, in the form of tlog-policy.
	Policy string `json:"policy"`
	// PolicyKeys are the keys of these witnesses.
	PolicyKeys []string `json:"policy_keys"`
	// Witnesses are the names of the witnesses that sign here.
	Witnesses []string `json:"witnesses"`
	// Entries from which the log is made.
	Entries [][]byte `json:"entries"`
	// Sizes at which there is to be a checkpoint, ascending.
	Sizes []uint64 `json:"sizes"`
	// Samples are the indices whose inclusion is to be proven, at each size that has them.
	Samples []uint64 `json:"samples"`
}

type key struct {
	Key  string `json:"key"`
	Seed []byte `json:"seed"`
}

// made is what was made.
type made struct {
	Witnesses []key  `json:"witnesses"`
	Heads     []head `json:"heads"`
}

// head is the log at one size.
type head struct {
	Size       uint64 `json:"size"`
	Checkpoint []byte `json:"checkpoint"`
	// Proofs of c2sp.org/tlog-proof, for each of Inclusions.
	Proofs        [][]byte           `json:"proofs"`
	Inclusions    []inclusionProof   `json:"inclusions"`
	Consistencies []consistencyProof `json:"consistencies"`
}

// grow makes a log with Tessera's POSIX driver, whose checkpoints are cosigned over HTTP by the
// witnesses of the policy and then by witnesses here.
func grow(ctx context.Context, s settings) (*made, error) {
	g := &grower{settings: s}
	signer, err1 := note.NewSigner(s.LogPrivateKey)
	verifier, err2 := note.NewVerifier(s.LogKey)
	err3 := g.makeWitnesses()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	g.known = append(g.known, verifier)
	for _, text := range s.PolicyKeys {
		v, err := fnote.NewVerifierForCosignatureV1(text)
		if err != nil {
			return nil, err
		}
		g.known = append(g.known, v)
	}
	if err := g.run(ctx, signer); err != nil {
		return nil, err
	}
	return &g.made, nil
}

type grower struct {
	settings
	made    made
	known   []note.Verifier
	signers []note.Signer
}

func keyOf(skey, vkey string) (key, error) {
	seed, err := seedOf(skey)
	return key{Key: vkey, Seed: seed}, err
}

func (g *grower) makeWitnesses() error {
	for _, name := range g.Witnesses {
		skey, vkey, err := note.GenerateKey(rand.Reader, name)
		if err != nil {
			return err
		}
		cosigner, err1 := fnote.NewSignerForCosignatureV1(skey)
		vkey, err2 := fnote.VKeyToCosignatureV1(vkey)
		k, err3 := keyOf(skey, vkey)
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		g.signers = append(g.signers, cosigner)
		g.made.Witnesses = append(g.made.Witnesses, k)
	}
	return nil
}

func (g *grower) run(ctx context.Context, signer note.Signer) error {
	policy, err := tessera.NewWitnessGroupFromPolicy([]byte(g.Policy))
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: g.Dir})
	if err != nil {
		return err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithCheckpointInterval(100*time.Millisecond).
		WithBatching(atOnce, 50*time.Millisecond).
		WithWitnesses(policy, nil).
		// Partial tiles of the earlier sizes stay.
		WithGarbageCollectionInterval(0)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return err
	}
	for _, size := range g.Sizes {
		if err := g.growTo(ctx, appender, reader, size); err != nil {
			return fmt.Errorf("at size %d: %w", size, err)
		}
	}
	return shutdown(ctx)
}

func (g *grower) growTo(
	ctx context.Context, appender *tessera.Appender, reader tessera.LogReader, size uint64,
) error {
	from := uint64(0)
	if n := len(g.made.Heads); n > 0 {
		from = g.made.Heads[n-1].Size
	}
	for from < size {
		until := min(size, from+atOnce)
		var futures []tessera.IndexFuture
		for _, entry := range g.Entries[from:until] {
			futures = append(futures, appender.Add(ctx, tessera.NewEntry(entry)))
		}
		for _, future := range futures {
			if index, err := future(); err != nil || index.Index != from {
				return fmt.Errorf("entry %d got the index %d: %v", from, index.Index, err)
			}
			from++
		}
	}
	published, err := g.published(ctx, reader, size)
	if err != nil {
		return err
	}
	return g.record(ctx, published, size)
}

// published waits for Tessera's own checkpoint of this size.
func (g *grower) published(
	ctx context.Context, reader tessera.LogReader, size uint64,
) (*note.Note, error) {
	for deadline := time.Now().Add(publication); time.Now().Before(deadline); {
		text, err := reader.ReadCheckpoint(ctx)
		if err == nil {
			cp, _, n, err := log.ParseCheckpoint(text, g.known[0].Name(), g.known[0], g.known[1:]...)
			if err != nil {
				return nil, err
			}
			if cp.Size == size {
				return n, nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, errors.New("no checkpoint is published")
}

func (g *grower) record(ctx context.Context, published *note.Note, size uint64) error {
	if len(published.Sigs) != len(g.known) {
		return fmt.Errorf("%d signatures, expected %d", len(published.Sigs), len(g.known))
	}
	text, err := note.Sign(published, g.signers...)
	if err != nil {
		return err
	}
	h := head{Size: size, Checkpoint: text}
	var cp log.Checkpoint
	if _, err := cp.Unmarshal([]byte(published.Text)); err != nil {
		return err
	}
	tree, err := treeOf(&cp)
	if err != nil {
		return err
	}
	p, err := newProver(ctx, tree, directory{root: g.Dir, checkpoint: text})
	if err != nil {
		return err
	}
	if err := g.prove(ctx, p, &h); err != nil {
		return err
	}
	g.made.Heads = append(g.made.Heads, h)
	return nil
}

func (g *grower) prove(ctx context.Context, p *prover, h *head) error {
	for _, index := range g.Samples {
		if index >= h.Size {
			continue
		}
		hashes, err := p.inclusion(ctx, index)
		if err != nil {
			return err
		}
		h.Inclusions = append(h.Inclusions, inclusionProof{Index: index, Hashes: hashes})
		offline := proof.TLogProof{Index: index, Checkpoint: h.Checkpoint}
		for _, hash := range hashes {
			offline.Hashes = append(offline.Hashes, tlog.Hash(hash))
		}
		h.Proofs = append(h.Proofs, offline.Marshal())
	}
	for _, earlier := range g.made.Heads {
		hashes, err := p.consistency(ctx, earlier.Size)
		if err != nil {
			return err
		}
		consistency := consistencyProof{Old: earlier.Size, Hashes: hashes}
		h.Consistencies = append(h.Consistencies, consistency)
	}
	return nil
}
