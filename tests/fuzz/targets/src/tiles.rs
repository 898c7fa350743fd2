//! Tiles, bundles of entries, and their paths (C2SP tlog-tiles).

use crate::Input;
use passerelle_audit::{
    merkle::{Tree, leaf_hash},
    tiles::{
        MAX_ENTRY_BYTES, MAX_LEVEL, TILE_WIDTH, TileKind, TilePath, decode_bundle, decode_tile,
        encode_bundle, new_tiles, tile_content,
    },
};

/// A path, the bytes of a tile, the bytes of a bundle, or a small tree cut into tiles.
pub fn tiles(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match (kind % 4, input.text()) {
        (0, Some(text)) => path(text),
        (1, _) => tile(input),
        (2, _) => bundle(input),
        (3, _) => grow(input),
        _ => {}
    }
}

fn path(text: &str) {
    let Ok(parsed) = text.parse::<TilePath>() else {
        return;
    };
    assert_eq!(parsed.to_string(), text, "a path has one spelling");
    assert!((1..=TILE_WIDTH).contains(&parsed.width()));
    assert!(!matches!(parsed.kind(), TileKind::Hashes(level) if level > MAX_LEVEL));
    let made = TilePath::new(parsed.kind(), parsed.index(), parsed.width());
    assert_eq!(made, Some(parsed));
}

fn tile(mut input: Input<'_>) {
    let width = input.short();
    let content = input.rest();
    if let Ok(hashes) = decode_tile(content, width) {
        assert_eq!(hashes.len(), usize::from(width));
        let written: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        assert_eq!(written, content);
    }
}

fn bundle(mut input: Input<'_>) {
    let width = input.short() % (TILE_WIDTH + 2);
    let content = input.rest();
    if let Ok(entries) = decode_bundle(content, width) {
        assert_eq!(entries.len(), usize::from(width));
        assert!(entries.iter().all(|entry| entry.len() <= MAX_ENTRY_BYTES));
        if width <= TILE_WIDTH {
            assert_eq!(encode_bundle(entries).unwrap(), content);
        }
    }
}

fn grow(mut input: Input<'_>) {
    let (old, new) = (
        u64::from(input.short()) % 700,
        u64::from(input.short()) % 700,
    );
    let mut tree = Tree::new();
    for index in 0..new {
        tree.push(leaf_hash(&index.to_be_bytes()));
    }
    for path in new_tiles(old, new) {
        assert_eq!(path.to_string().parse(), Ok(path));
        assert!(path.start().is_some_and(|start| start < new));
        if path.kind() == TileKind::Entries {
            continue;
        }
        let content = tile_content(&tree, &path).unwrap();
        let hashes = decode_tile(&content, path.width()).unwrap();
        if path.kind() == TileKind::Hashes(0) {
            let first = path.start().unwrap();
            assert_eq!(Some(hashes[0]), tree.leaf(first));
        }
    }
}
