"""What an agency that keeps the rules does. Each function is a sub-command."""

import json
import os

from cryptography.hazmat.primitives.asymmetric import x25519
from passerelle.v1 import exchange_pb2 as wire
from passerelle.v1 import exchange_pb2_grpc as rpc

import codec
import tlog
from agency import fresh_id, now_ms
from codec import Fault, Opening
from session import opened

HOUR_MS = 3_600_000
WORKER = "w-17"


def consent_terms(agency, subject, category, recipients):
    """A written consent for a year that this agency may tell the recipients."""
    at = now_ms() - 1_000
    return {
        "capacity": "capable", "categories": [category], "consent": fresh_id("consent"),
        "disclosers": [agency.name], "evidence": None, "expires_at": at + 365 * 24 * HOUR_MS,
        "giver": "self", "given_at": at, "interpreter": False, "language": "fr",
        "method": "written", "notice_version": 1, "purposes": ["deliver"],
        "recipients": recipients, "redisclosure": False, "subject": subject.hex(),
    }


class Question:
    """A request, with the secrets that belong to it."""

    def __init__(self, session, handle, holder, category, level):
        agency = session.agency
        self.id, self.holder = fresh_id("req"), holder
        self.reply_key = x25519.X25519PrivateKey.generate()
        self.subject = Opening("subject", handle)
        worker = Opening("worker", WORKER.encode())
        reason = "to accompany, as agreed"
        why = Opening("justification", reason.encode())
        inner = {"justification": reason, "openings": [worker.json(), why.json()],
                 "worker": WORKER}
        sealing = bytes.fromhex(agency.memory["members"][holder]["sealing"])
        self.context = codec.seal(sealing, self.id.encode(), b"context",
                                  json.dumps(inner).encode(), codec.CONTEXT_SIZE)
        self.body = {
            "basis": "consent", "case": None, "context": codec.sha256(self.context).hex(),
            "emergency": None, "holder": holder, "items": [{"category": category, "level": level}],
            "justification": why.hex(), "not_after": now_ms() + HOUR_MS, "purpose": "deliver",
            "reliance": None, "reply_key": codec.public_bytes(self.reply_key).hex(),
            "request": self.id, "role": "social_worker", "subject": self.subject.hex(),
            "trained": True, "worker": worker.hex(),
        }

    def submit(self, agency):
        return agency.submit(agency.statement({"request": self.body}), [self.subject],
                             {"context": self.context})


def ask(session, options):
    """Asks an agency and opens its answer."""
    agency = session.agency
    session.wait("the members", lambda: options.holder in agency.memory["members"])
    token = codec.match_token(options.family, options.given, options.born)
    handle = session.handle(token)
    question = Question(session, handle, options.holder, options.category, options.level)
    index = session.done(question.submit(agency))
    decided = session.notice("a decision", lambda n: n.kind == "decided"
                             and n.body["request"] == question.id)
    effects = [item["ruling"]["effect"] for item in decided.body["items"]]
    if "deny" in effects:
        return {"index": index, "request": question.id, "effects": effects}
    notice = session.notice("an answer", lambda n: (n.said("answer") or {}).get(
        "request") == question.id)
    outcome, items, sealed = open_answer(session, question, notice)
    receipts = [receipt(session, question.id, kind, sealed) for kind in ("delivered", "viewed")]
    return {"index": index, "request": question.id, "effects": effects, "outcome": outcome,
            "items": items, "sealed": sealed, "receipts": receipts}


def open_answer(session, question, notice):
    """Everything that a requester must check of an answer."""
    statement = session.checked_said(notice)
    answer = statement["body"]["answer"]
    if statement["agency"] != question.holder:
        raise Fault("an answer by somebody else")
    offers = [n for n in session.notices if n.kind == "offered"
              and n.body["permit"]["request"] == question.id]
    digests = [codec.sha256(codec.canonical(n.body["permit"])).hex() for n in offers]
    if answer["permit"] not in digests:
        raise Fault("an answer under a permit that is not in the log")
    sealed = notice.sent.payloads["answer"]
    if codec.sha256(sealed).hex() != answer["sealed"]:
        raise Fault("another sealed answer than was signed")
    content = json.loads(codec.unseal(
        question.reply_key, bytes.fromhex(answer["permit"]), question.id.encode(), sealed))
    opening = Opening.from_json(content["opening"])
    if opened([opening], "outcome", answer["outcome"]) != content["outcome"].encode():
        raise Fault("another outcome than the one committed to")
    return content["outcome"], content["items"], answer["sealed"]


def receipt(session, request, kind, sealed):
    agency = session.agency
    body = {"receipt": {"kind": kind, "request": request, "sealed": sealed}}
    return session.done(agency.submit(agency.statement(body)))


def erase(session, options):
    """Attests that an answer was destroyed."""
    return {"index": receipt(session, options.request, "erased", options.sealed)}


def hold(session, options):
    """Records a consent, waits to be asked, and answers."""
    agency = session.agency
    session.wait("the members", lambda: options.recipient in agency.memory["members"])
    handle = session.handle(codec.match_token(options.family, options.given, options.born))
    subject = Opening("subject", handle)
    terms = consent_terms(agency, subject, options.category, [options.recipient])
    index = session.done(agency.submit(agency.statement({"consent": terms}), [subject]))
    session.notice("the consent in the log", lambda n: n.index == index)
    print(json.dumps({"consent": terms["consent"], "index": index}), flush=True)
    offer = session.notice("a permit", lambda n: n.kind == "offered"
                           and n.body["permit"]["holder"] == agency.name)
    permit, digest, asked, named = session.checked_permit(offer)
    if named != handle:
        raise Fault("asked about somebody else")
    why = open_context(agency, asked, offer)
    answer = answer_to(agency, permit, digest, "released", [
        {**item, "values": [dict(item)]} for item in permit["items"]])
    index = session.done(answer)
    arrived = session.notice("the receipt", lambda n: (n.said("receipt") or {}).get(
        "request") == permit["request"])
    kind = session.checked_said(arrived)["body"]["receipt"]["kind"]
    return {"consent": terms["consent"], "request": permit["request"], "index": index,
            "receipt": kind, "asked_by": why["worker"]}


def open_context(agency, asked, offer):
    """Who asks and why; only the holder can read it."""
    sealed = offer.sent.related.payloads["context"]
    inner = json.loads(codec.unseal(
        agency.sealing, asked["request"].encode(), b"context", sealed))
    openings = [Opening.from_json(o) for o in inner["openings"]]
    for field in ("worker", "justification"):
        if opened(openings, field, asked[field]) != inner[field].encode():
            raise Fault(f"another {field} than the one committed to")
    return inner


def answer_to(agency, permit, digest, outcome, items):
    """An answer, sealed to the reply key of the permit; its size follows from the permit."""
    opening = Opening("outcome", outcome.encode())
    content = {"items": items, "obligations": permit["obligations"], "opening": opening.json(),
               "outcome": outcome}
    levels = [item["level"] for item in permit["items"]]
    size = codec.LONG_ANSWER if "detail" in levels or len(levels) > 3 else codec.SHORT_ANSWER
    sealed = codec.seal(bytes.fromhex(permit["reply_key"]), digest, permit["request"].encode(),
                        json.dumps(content).encode(), size)
    body = {"answer": {"outcome": opening.hex(), "permit": digest.hex(),
                       "request": permit["request"], "sealed": codec.sha256(sealed).hex()}}
    return agency.submit(agency.statement(body), (), {"answer": sealed})


def withdraw(session, options):
    """Withdraws a consent, all of it, and waits until that was carried out."""
    agency = session.agency
    body = {"withdrawal": {"consent": options.consent, "scope": "all"}}
    index = session.done(agency.submit(agency.statement(body)))
    session.notice("the withdrawal in the log", lambda n: n.index == index)
    return {"index": index}


def read_log(session, _):
    """Reads the log as a member may, and recomputes the root of its checkpoint."""
    agency = session.agency
    reader = rpc.LogReadStub(session.connection)
    text = reader.LatestCheckpoint(wire.LatestCheckpointRequest(), timeout=20).checkpoint
    checkpoint = tlog.Checkpoint(tlog.Note(text), agency.log)
    witnesses = agency.witnesses()
    if checkpoint.count(witnesses) < tlog.quorum(len(witnesses)):
        raise Fault("the published checkpoint has no quorum")
    request = wire.EntriesRequest(**{"from": 0, "until": checkpoint.size})
    rows = list(reader.Entries(request, timeout=60))
    hashes = [row.leaf_hash or tlog.leaf_hash(row.entry) for row in rows]
    if [row.index for row in rows] != list(range(checkpoint.size)):
        raise Fault("rows are missing")
    if tlog.root_of(hashes) != checkpoint.root:
        raise Fault("the rows are not those of the checkpoint")
    readable = sum(1 for row in rows if row.entry)
    return {"size": checkpoint.size, "readable": readable}


def follow(session, _):
    """Cosigns checkpoints for a while: consistency is proven from one to the next."""
    before = session.agency.memory["size"]
    session.wait("a checkpoint that extends the one before",
                 lambda: session.agency.memory["size"] > before)
    return {"before": before, "after": session.agency.memory["size"], "pid": os.getpid()}
