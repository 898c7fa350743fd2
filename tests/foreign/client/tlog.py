"""The log, from the C2SP and RFC 6962 formats: notes, checkpoints, cosignatures, proofs.

In scope: strict parsing and verification, the rule of a witness. Out of scope: entries.
"""

import re

from codec import Fault, b64, sha256, unb64, verify

MARK = "— "
EMPTY_ROOT = sha256(b"")


def leaf_hash(entry):
    return sha256(b"\0" + entry)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


def root_of(leaves):
    """RFC 6962, 2.1."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(root_of(leaves[:split]), root_of(leaves[split:]))


def check_inclusion(leaf, index, size, proof, root):
    """RFC 9162, 2.1.3.2."""
    if index >= size:
        raise Fault("an index beyond the tree")
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Fault("a proof that is too long")
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    if last or found != root:
        raise Fault("the entry is not in the tree")


def check_consistency(old_size, old_root, new_size, new_root, proof):
    """RFC 9162, 2.1.4.2, with the empty tree as a prefix of all (tlog-witness)."""
    if old_size == 0 or old_size == new_size:
        if proof or (old_size == new_size and old_root != new_root):
            raise Fault("not an extension")
        return
    proof = list(proof)
    if not proof:
        raise Fault("no proof")
    if old_size & (old_size - 1) == 0:
        proof.insert(0, old_root)
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            raise Fault("a proof that is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last or old != old_root or new != new_root:
        raise Fault("not an extension")


class VerifierKey:
    """A name with a key: type 1 signs checkpoints, type 4 cosigns them."""

    def __init__(self, name, kind, public):
        self.name, self.kind, self.public = name, kind, public
        self.id = sha256(name.encode() + b"\n" + bytes([kind]) + public)[:4]

    @staticmethod
    def parse(text):
        name, key_id, encoded = text.split("+", 2)
        data = unb64(encoded)
        key = VerifierKey(name, data[0], data[1:])
        if key.id.hex() != key_id or len(key.public) != 32:
            raise Fault("a verifier key that is not one")
        return key

    def line(self, signature):
        """A signature line, without its newline."""
        return f"{MARK}{self.name} {b64(self.id + signature)}"


class Note:
    """A text with its signatures, parsed and not verified."""

    def __init__(self, note):
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise Fault("not a note")
        self.text, self.signatures = text + "\n", []
        for line in lines[:-1].split("\n"):
            match = re.fullmatch(MARK + r"([^\s+]+) (\S+)", line)
            if not match:
                raise Fault("not a signature line")
            data = unb64(match[2])
            self.signatures.append((match[1], data[:4], data[4:]))

    def by(self, key):
        """The signatures that name this key."""
        found = [s for name, key_id, s in self.signatures if (name, key_id) == (key.name, key.id)]
        return found


class Checkpoint:
    """A checkpoint that the log has signed."""

    def __init__(self, note, log):
        self.note = note
        signatures = note.by(log)
        if not signatures or not all(
            verify(log.public, note.text.encode(), signature) for signature in signatures
        ):
            raise Fault("the log has not signed this checkpoint")
        lines = note.text[:-1].split("\n")
        if len(lines) != 3 or lines[0] != log.name or str(int(lines[1])) != lines[1]:
            raise Fault("not a checkpoint of this log")
        self.size, self.root = int(lines[1]), unb64(lines[2])

    def cosigned_by(self, witness):
        """Whether this witness cosigned; a wrong line in its name spoils the checkpoint."""
        found = self.note.by(witness)
        for signature in found:
            time_s = int.from_bytes(signature[:8], "big")
            message = cosignature_message(time_s, self.note.text)
            if not verify(witness.public, message, signature[8:]):
                raise Fault(f"a wrong cosignature in the name of {witness.name}")
        return bool(found)

    def count(self, witnesses):
        """Distinct keys among the witnesses that cosigned."""
        return len({w.public for w in witnesses if self.cosigned_by(w)})


def cosignature_message(time_s, text):
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosignature(key, private, time_s, text):
    """One line by which a witness cosigns the text of a checkpoint."""
    signature = private.sign(cosignature_message(time_s, text))
    return key.line(time_s.to_bytes(8, "big") + signature)


def quorum(members):
    return 1 + 2 * members // 3


class Proof:
    """A tlog-proof@v1, parsed and not verified."""

    def __init__(self, text):
        head, separator, note = text.partition("\n\n")
        lines = head.split("\n")
        if not separator or lines[0] != "c2sp.org/tlog-proof@v1":
            raise Fault("not a proof")
        if len(lines) < 2 or not re.fullmatch(r"index (0|[1-9][0-9]*)", lines[1]):
            raise Fault("a proof without an index")
        self.index = int(lines[1][6:])
        self.hashes = [unb64(line) for line in lines[2:]]
        self.note = Note(note)

    def check(self, entry, log, witnesses, needed):
        """The checkpoint whose tree has the entry, cosigned by enough of the witnesses."""
        checkpoint = Checkpoint(self.note, log)
        if checkpoint.count(witnesses) < max(needed, 1):
            raise Fault("too few cosignatures")
        leaf = leaf_hash(entry)
        check_inclusion(leaf, self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint
