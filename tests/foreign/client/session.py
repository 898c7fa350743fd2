"""The one stream to the broker.

In scope: frames out and in, the witness, notices with their proofs, permits. Everything that the
broker sends is checked before it is used.
Out of scope: what to say (honest.py, malicious.py).
"""

import queue
import threading
import time

import grpc
from passerelle.v1 import exchange_pb2 as wire
from passerelle.v1 import exchange_pb2_grpc as rpc

import codec
import oprf
import tlog
from agency import code_of
from codec import Fault

PATIENCE_S = 40


class Ended(Exception):
    """The stream has ended; with the error code, if the broker gave one."""

    def __init__(self, code, detail):
        super().__init__(f"the stream ended: {code} {detail}")
        self.code = code


class Notice:
    """A log entry whose proof was verified."""

    def __init__(self, sent, entry, checkpoint):
        self.index, self.sent = sent.index, sent
        self.entry, self.checkpoint = entry, checkpoint
        self.kind = entry["@type"]
        self.body = entry["body"][self.kind]

    def statement(self):
        """What was said, if something was; its signature is for `checked_statement`."""
        if self.kind != "said":
            return None
        return codec.parse_canonical(codec.unb64(self.body["envelope"]["payload"]))

    def said(self, kind):
        """The body of a statement of this kind, or nothing."""
        statement = self.statement()
        return statement and statement["body"].get(kind)


class Session:
    """See the module. `witnessing` may replace the honest answer to a round."""

    def __init__(self, agency, first=None, witnessing=None, identity=None):
        self.agency, self.witnessing = agency, witnessing
        self.changed = threading.Condition()
        self.replies, self.evaluated, self.notices, self.faults = {}, {}, [], []
        self.welcome, self.ended, self.calls, self.rounds = None, None, 0, 0
        self.out = queue.SimpleQueue()
        memory = agency.memory
        self.send(first or wire.AgentFrame(hello=wire.Hello(
            protocol=1, next_notice=memory["next_notice"], next_member=memory["next_member"],
            witness_size=memory["size"])))
        self.connection = agency.connect(identity)
        self.stream = rpc.ExchangeStub(self.connection).Attach(iter(self.out.get, None))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.wait("a welcome", lambda: self.welcome)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.out.put(None)
        self.stream.cancel()
        # Whoever comes next has the memory for itself.
        self.reader.join(10)
        self.connection.close()

    def send(self, frame):
        self.out.put(frame)

    def wait(self, what, check, patience_s=PATIENCE_S):
        """Waits until `check` gives something; fails with what ended the stream, or was found."""
        deadline = time.monotonic() + patience_s
        with self.changed:
            while True:
                found = check()
                if found:
                    return found
                if self.faults:
                    raise Fault("; ".join(self.faults))
                if self.ended:
                    raise self.ended
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Fault(f"waited in vain for {what}")
                self.changed.wait(left)

    def wait_end(self):
        """The error code with which the broker ends the stream."""
        return self.wait("the end of the stream", lambda: self.ended).code

    def notice(self, what, wanted):
        """The first verified notice that is wanted, old ones included."""
        return self.wait(what, lambda: next((n for n in self.notices if wanted(n)), None))

    def say(self, submit):
        """Submits, and returns the reply."""
        self.calls += 1
        submit.call = call = self.calls
        self.send(wire.AgentFrame(submit=submit))
        return self.wait("a reply", lambda: self.replies.get(call))

    def done(self, submit):
        """Submits what must be accepted; its index."""
        reply = self.say(submit)
        if reply.code or not reply.logged:
            raise Fault(f"refused: {reply.code}")
        return reply.index

    def evaluate(self, blinded):
        self.calls += 1
        call = self.calls
        self.send(wire.AgentFrame(evaluate=wire.Evaluate(call=call, blinded=blinded)))
        return self.wait("an evaluation", lambda: self.evaluated.get(call))

    def handle(self, token):
        """The handle of a match token: the first 32 bytes of the function's output."""
        blinding = oprf.Blinding([token])
        reply = self.evaluate(blinding.blinded)
        if reply.code:
            raise Fault(f"not evaluated: {reply.code}")
        key = self.agency.oprf_key
        return blinding.finalize(list(reply.elements), reply.proof, key)[0][:32]

    def _read(self):
        try:
            for frame in self.stream:
                self._take(frame)
            ended = Ended(None, "without a status")
        except grpc.RpcError as error:
            ended = Ended(code_of(error), f"{error.code()} {error.details()}")
        except Exception as error:  # a fault of this client must not look like silence
            ended = Ended(None, repr(error))
        with self.changed:
            self.ended = ended
            self.changed.notify_all()

    def _take(self, frame):
        kind = frame.WhichOneof("frame")
        with self.changed:
            if kind == "welcome":
                self.welcome = frame.welcome
            elif kind == "reply":
                self.replies[frame.reply.call] = frame.reply
            elif kind == "evaluated":
                self.evaluated[frame.evaluated.call] = frame.evaluated
            elif kind == "witness_round":
                self._on_round(frame.witness_round)
            elif kind == "notice":
                try:
                    self._on_notice(frame.notice)
                except Fault as fault:
                    self.faults.append(f"notice {frame.notice.index}: {fault}")
            self.changed.notify_all()

    # The witness.

    def _on_round(self, round_):
        answer = self.witnessing or honest_witness
        for frame in answer(self.agency, round_):
            self.send(frame)
        self.rounds += 1

    # Notices.

    def _on_notice(self, sent):
        agency = self.agency
        cursor = "next_member" if sent.membership else "next_notice"
        if sent.index < agency.memory[cursor]:
            return
        proof = tlog.Proof(sent.proof)
        if proof.index != sent.index:
            raise Fault("the proof of another index")
        # The own cosignature first. Membership needs no other: who counts is not known before.
        checkpoint = proof.check(sent.entry, agency.log, [agency.witness_key], 1)
        if not sent.membership:
            witnesses = agency.witnesses()
            proof.check(sent.entry, agency.log, witnesses, tlog.quorum(len(witnesses)))
        notice = Notice(sent, codec.parse_canonical(sent.entry), checkpoint)
        if sent.membership:
            self._on_membership(notice)
        agency.memory[cursor] = sent.index + 1
        agency.remember()
        self.notices.append(notice)

    def _on_membership(self, notice):
        members = self.agency.memory["members"]
        if notice.kind == "enrolled":
            # Who renews its keys stays where it was in the order of members.
            since = members.get(notice.body["agency"], {}).get("since", notice.index)
            members[notice.body["agency"]] = {**notice.body["keys"], "since": since}
        elif notice.kind == "revoked":
            members.pop(notice.body["agency"], None)
        elif notice.kind not in ("founded", "bundle_proposed", "bundle_activated"):
            self._on_endorsement(notice)

    def _on_endorsement(self, notice):
        """What else comes to all: an agency that endorses rules."""
        if notice.kind != "said":
            raise Fault("not an entry for all")
        statement = self.checked_said(notice)
        if "bundle_endorsement" not in statement["body"]:
            raise Fault("not a statement for all")

    # What others say.

    def checked_statement(self, name, payload, signature):
        """A statement that `name` has signed, parsed."""
        keys = self.agency.memory["members"].get(name)
        message = codec.pae(codec.STATEMENT_TYPE, payload)
        if not keys or not codec.verify(bytes.fromhex(keys["signing"]), message, signature):
            raise Fault(f"`{name}` has not signed this statement")
        statement = codec.parse_canonical(payload)
        if (statement["agency"], statement["federation"]) != (name, self.agency.federation):
            raise Fault("a statement under another name, or of another federation")
        return statement

    def checked_said(self, notice):
        """The statement in a `said` entry, with its signature checked."""
        envelope = notice.body["envelope"]
        payload = codec.unb64(envelope["payload"])
        signature = bytes.fromhex(envelope["signature"])
        return self.checked_statement(notice.body["agency"], payload, signature)

    def checked_permit(self, notice):
        """The permit in an offer on which this agency may answer now, its digest, the request
        that it is for, and the person's handle."""
        permit, sent = notice.body["permit"], notice.sent
        payload = codec.canonical(permit)
        message = codec.pae(codec.PERMIT_TYPE, payload)
        if not codec.verify(self.agency.permit_key, message, sent.permit_signature):
            raise Fault("the broker has not signed this permit")
        if permit["holder"] != self.agency.name:
            raise Fault("a permit for somebody else")
        envelope = sent.related.envelope
        statement = self.checked_statement(
            permit["requester"], envelope.payload, envelope.signature)
        if codec.sha256(envelope.payload).hex() != permit["statement"]:
            raise Fault("the permit is for another statement")
        asked = statement["body"]["request"]
        for field in ("request", "holder", "purpose", "basis", "case", "reply_key"):
            if permit[field] != asked[field]:
                raise Fault(f"the permit has another `{field}` than the request")
        if not _within(permit["items"], asked["items"]):
            raise Fault("the permit allows what was not asked")
        now = int(time.time() * 1000)
        if not permit["items"] or permit["issued_at"] > now + 300_000:
            raise Fault("a permit of another time, or for nothing")
        if permit["not_after"] <= now or permit["not_after"] > asked["not_after"]:
            raise Fault("the permit has expired")
        handle = None
        if asked["subject"] is not None:
            openings = [codec.Opening(o.field, o.data, o.random) for o in sent.related.openings]
            handle = opened(openings, "subject", asked["subject"])
        context = sent.related.payloads["context"]
        if codec.sha256(context).hex() != asked["context"]:
            raise Fault("another context than was signed")
        return permit, codec.sha256(payload), asked, handle


LEVELS = ("known", "contact", "involvement", "coded", "detail")


def _within(permitted, asked):
    most = {item["category"]: LEVELS.index(item["level"]) for item in asked}
    return all(LEVELS.index(p["level"]) <= most.get(p["category"], -1) for p in permitted)


def opened(openings, field, wanted):
    """The data of the opening of `field` that opens this commitment."""
    for opening in openings:
        if opening.field == field and opening.hex() == wanted:
            return opening.data
    raise Fault(f"nothing opens the commitment to the {field}")


def honest_witness(agency, round_):
    """The rule of tlog-witness; what was accepted is durable before it is signed."""
    memory = agency.memory

    def refuse(status, size=0):
        return [wire.AgentFrame(cosign_refused=wire.CosignRefused(
            size=size, status=status, known_size=memory["size"]))]

    try:
        note = tlog.Note(round_.checkpoint)
    except Fault:
        return refuse(400)
    if not note.by(agency.log):
        return refuse(404)
    try:
        checkpoint = tlog.Checkpoint(note, agency.log)
    except Fault:
        return refuse(403)
    if round_.old_size > checkpoint.size:
        return refuse(400, checkpoint.size)
    if round_.old_size != memory["size"]:
        return refuse(409, checkpoint.size)
    try:
        tlog.check_consistency(memory["size"], bytes.fromhex(memory["root"]),
                               checkpoint.size, checkpoint.root, round_.proof)
    except Fault:
        return refuse(422, checkpoint.size)
    memory["size"], memory["root"] = checkpoint.size, checkpoint.root.hex()
    agency.remember()
    return [cosigned(agency, checkpoint)]


def cosigned(agency, checkpoint, text=None, key=None):
    """A cosignature; of another text, or under another key's name, only for those who lie."""
    line = tlog.cosignature(key or agency.witness_key, agency.witness, int(time.time()),
                            text or checkpoint.note.text)
    return wire.AgentFrame(cosigned=wire.Cosigned(size=checkpoint.size, signature=line))
