package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// fsck leaves its workers waiting when it stops early; one that waits itself has not accepted.
const patience = 10 * time.Second

// Workers, and room for what they are given: more than a small log has files, so that a worker
// that has stopped at a fault does not keep fsck waiting.
const workers = 16

// directory is a log in files, with a checkpoint that may be an earlier one, and with some of the
// files replaced; with nothing, if they are to be missing.
type directory struct {
	root       string
	checkpoint []byte
	overlay    map[string][]byte
}

func directoryOf(c judged) (directory, error) {
	d := directory{root: string(c.Parts["dir"]), checkpoint: c.Parts["note"]}
	if overlay := c.Parts["overlay"]; len(overlay) > 0 {
		if err := json.Unmarshal(overlay, &d.overlay); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (d directory) ReadCheckpoint(context.Context) ([]byte, error) {
	return d.checkpoint, nil
}

func (d directory) ReadTile(_ context.Context, level, index uint64, width uint8) ([]byte, error) {
	return d.either(layout.TilePath(level, index, width), layout.TilePath(level, index, 0))
}

func (d directory) ReadEntryBundle(_ context.Context, index uint64, width uint8) ([]byte, error) {
	return d.either(layout.EntriesPath(index, width), layout.EntriesPath(index, 0))
}

// either reads a file or, as Tessera asks of whoever reads, the full one in place of a partial.
func (d directory) either(name, full string) ([]byte, error) {
	content, err := d.file(name)
	if errors.Is(err, os.ErrNotExist) && full != name {
		return d.file(full)
	}
	return content, err
}

func (d directory) file(name string) ([]byte, error) {
	if content, replaced := d.overlay[name]; replaced {
		if content == nil {
			return nil, os.ErrNotExist
		}
		return content, nil
	}
	return os.ReadFile(path.Join(d.root, name))
}

// check has Tessera's fsck check a log in files against its checkpoint.
func check(ctx context.Context, c judged) (string, error) {
	key, err := note.NewVerifier(string(c.Parts["log_key"]))
	if err != nil {
		return "", err
	}
	opened, err := open(c, c.Parts["note"])
	if err != nil {
		return "", err
	}
	files, err := directoryOf(c)
	if err != nil {
		return "", err
	}
	f := fsck.New(key.Name(), key, files, leafHashes, fsck.Opts{N: workers})
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- fmt.Errorf("fsck panics: %v", p)
			}
		}()
		ended <- f.Check(ctx)
	}()
	select {
	case err = <-ended:
	case <-time.After(patience):
		err = errors.New("fsck does not end")
	}
	return opened.meaning, err
}

// leafHashes are the leaf hashes of a bundle as the specification has them.
func leafHashes(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// inclusionProof and consistencyProof are proofs as they were made from a log.
type inclusionProof struct {
	Index  uint64   `json:"index"`
	Hashes [][]byte `json:"hashes"`
}

type consistencyProof struct {
	Old    uint64   `json:"old"`
	Hashes [][]byte `json:"hashes"`
}

// proofsFromTiles makes the same proofs from the tiles, with x/mod and with Tessera's client, and
// accepts if all are the same.
func proofsFromTiles(ctx context.Context, c judged) (string, error) {
	opened, err := open(c, c.Parts["note"])
	if err != nil {
		return "", err
	}
	var inclusions []inclusionProof
	var consistencies []consistencyProof
	err = errors.Join(
		json.Unmarshal(c.Parts["inclusions"], &inclusions),
		json.Unmarshal(c.Parts["consistencies"], &consistencies),
	)
	if err != nil {
		return "", err
	}
	files, err := directoryOf(c)
	if err != nil {
		return "", err
	}
	p, err := newProver(ctx, opened.tree, files)
	if err != nil {
		return "", err
	}
	for _, given := range inclusions {
		made, err := p.inclusion(ctx, given.Index)
		if err != nil {
			return "", err
		}
		if !same(made, given.Hashes) {
			return "", fmt.Errorf("another proof of inclusion of %d", given.Index)
		}
	}
	for _, given := range consistencies {
		made, err := p.consistency(ctx, given.Old)
		if err != nil {
			return "", err
		}
		if !same(made, given.Hashes) {
			return "", fmt.Errorf("another proof of consistency with %d", given.Old)
		}
	}
	return opened.meaning, nil
}

// prover makes proofs from tiles twice: with x/mod, which authenticates each tile, and with
// Tessera's client.
type prover struct {
	tree    tlog.Tree
	hashes  tlog.HashReader
	tessera *client.ProofBuilder
}

func newProver(ctx context.Context, tree tlog.Tree, files directory) (*prover, error) {
	builder, err := client.NewProofBuilder(ctx, uint64(tree.N), files.ReadTile)
	if err != nil {
		return nil, err
	}
	hashes := tlog.TileHashReader(tree, tileReader{ctx: ctx, files: files})
	return &prover{tree: tree, hashes: hashes, tessera: builder}, nil
}

func (p *prover) inclusion(ctx context.Context, index uint64) ([][]byte, error) {
	byTlog, err := tlog.ProveRecord(p.tree.N, int64(index), p.hashes)
	if err != nil {
		return nil, err
	}
	byTessera, err := p.tessera.InclusionProof(ctx, index)
	return agreed(byTlog, byTessera, err)
}

func (p *prover) consistency(ctx context.Context, old uint64) ([][]byte, error) {
	byTlog, err := tlog.ProveTree(p.tree.N, int64(old), p.hashes)
	if err != nil {
		return nil, err
	}
	byTessera, err := p.tessera.ConsistencyProof(ctx, old, uint64(p.tree.N))
	return agreed(byTlog, byTessera, err)
}

func agreed(byTlog []tlog.Hash, byTessera [][]byte, err error) ([][]byte, error) {
	if err != nil {
		return nil, err
	}
	plain := [][]byte{}
	for _, hash := range byTlog {
		plain = append(plain, slices.Clone(hash[:]))
	}
	if !same(plain, byTessera) {
		return nil, errors.New("x/mod and Tessera make different proofs")
	}
	return plain, nil
}

func same(a, b [][]byte) bool {
	return slices.EqualFunc(a, b, slices.Equal)
}

// tileReader gives tiles of 8 levels to x/mod, whose own paths are others.
type tileReader struct {
	ctx   context.Context
	files directory
}

func (r tileReader) Height() int { return layout.TileHeight }

func (r tileReader) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		if tile.L < 0 || tile.N < 0 || tile.H != layout.TileHeight {
			return nil, os.ErrNotExist
		}
		width := uint8(tile.W % layout.TileWidth)
		content, err := r.files.ReadTile(r.ctx, uint64(tile.L), uint64(tile.N), width)
		if err != nil {
			return nil, err
		}
		// A full tile may stand for a partial one.
		if most := tile.W * tlog.HashSize; len(content) > most {
			content = content[:most]
		}
		data = append(data, content)
	}
	return data, nil
}

func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
