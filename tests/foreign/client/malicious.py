"""What an agency that breaks the rules tries. Every case says what the broker made of it; the
test that runs this knows what it must be."""

import datetime
import json
import os
import time

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from passerelle.v1 import exchange_pb2 as wire
from passerelle.v1 import exchange_pb2_grpc as rpc

import codec
import tlog
from agency import channel, code_of, fresh_id, now_ms
from codec import Fault, Opening
from honest import HOUR_MS, Question, consent_terms
from session import Ended, Session, cosigned, honest_witness

DAY_MS = 24 * HOUR_MS


def case_opening(agency):
    """The plainest statement that is accepted."""
    return {"case_opening": {"agencies": [agency.name], "case": fresh_id("case"),
                             "profile": "situation_table"}}


def _resigned(agency, submit, change):
    """The same with other bytes under a valid signature."""
    submit.envelope.CopyFrom(agency.sign(change(submit.envelope.payload)))
    return submit


def _spoilt_forms(agency):
    """(name, submit): statements that are not in the one form."""
    def plain(**changes):
        return agency.submit(agency.statement(case_opening(agency), **changes))

    def edited(change):
        return _resigned(agency, plain(), change)

    def without(field):
        statement = agency.statement(case_opening(agency))
        del statement[field]
        return agency.submit(statement)

    def body(change):
        inner = case_opening(agency)
        change(inner["case_opening"])
        return agency.submit(agency.statement(inner))

    wrong = plain()
    wrong.envelope.signature = bytes(64)
    yield "wrong signature", wrong
    other = ed25519.Ed25519PrivateKey.generate()
    forged = plain()
    message = codec.pae(codec.STATEMENT_TYPE, forged.envelope.payload)
    forged.envelope.signature = other.sign(message)
    yield "signature by another key", forged
    unbound = plain()
    unbound.envelope.signature = agency.signing.sign(unbound.envelope.payload)
    yield "signature without the encoding", unbound
    typed = plain()
    message = codec.pae(codec.PERMIT_TYPE, typed.envelope.payload)
    typed.envelope.signature = agency.signing.sign(message)
    yield "signature of another payload type", typed
    yield "another agency's name", plain(agency="clinic")
    yield "a name that nobody has", plain(agency="nobody-here")
    yield "a space", edited(lambda p: p.replace(b":", b": ", 1))
    yield "keys out of order", edited(lambda p: json.dumps(
        dict(reversed(list(json.loads(p).items()))), separators=(",", ":")).encode())
    yield "an escaped letter", edited(lambda p: p.replace(b"situation", b"\\u0073ituation"))
    yield "a newline at the end", edited(lambda p: p + b"\n")
    yield "a key twice", edited(lambda p: p.replace(b"{", b'{"@version":1,', 1))
    yield "a fraction", edited(lambda p: p.replace(b'"@version":1', b'"@version":1.0'))
    yield "not UTF-8", edited(lambda p: p.replace(b"situation", b"situati\xffn"))
    yield "not JSON", edited(lambda _: b"\x00\x01\x02")
    yield "nothing", edited(lambda _: b"")
    yield "deeply nested JSON", edited(lambda _: b"[" * 50_000 + b"]" * 50_000)
    yield "unknown field", plain(note="x")
    yield "unknown field in the body", body(lambda b: b.update(note="x"))
    yield "missing field", without("at")
    yield "unknown statement", agency.submit(agency.statement({"gossip": {}}))
    yield "unknown code", body(lambda b: b.update(profile="round_table"))
    yield "two bodies", agency.submit(agency.statement(
        {**case_opening(agency), "withdrawal": {"consent": fresh_id("consent"), "scope": "all"}}))
    yield "free text for an identifier", body(lambda b: b.update(case="case-of-somebody"))
    yield "version 2", plain(**{"@version": 2})
    yield "31 days old", plain(at=now_ms() - 31 * DAY_MS)
    yield "six minutes ahead", plain(at=now_ms() + 6 * 60_000)
    yield "at the end of time", edited(
        lambda p: p.replace(str(json.loads(p)["at"]).encode(), str(2**64 - 1).encode()))
    yield "wrong federation", plain(federation="another")


def statements(session, _):
    """Statements that are not in order, and one that is, twice."""
    agency = session.agency
    seen = [_outcome(session, name, submit) for name, submit in _spoilt_forms(agency)]
    honest = agency.submit(agency.statement(case_opening(agency)))
    first = session.done(honest)
    again = _outcome(session, "replay", honest)
    again["first"] = first
    return seen + [again]


def _outcome(session, name, submit):
    """What became of it; a refusal that is logged is waited for, and its proof verified."""
    digest = codec.sha256(submit.envelope.payload).hex()
    reply = session.say(submit)
    seen = {"case": name, "code": reply.code, "logged": reply.logged, "index": reply.index,
            "statement": digest}
    if reply.logged and reply.code and reply.code != "replayed":
        notice = session.notice(f"the entry of `{name}`", lambda n: n.index == reply.index)
        if notice.kind != "refused" or notice.body["code"] != reply.code:
            raise Fault(f"{name}: another entry than the refusal: {notice.entry}")
        if notice.body["statement"] != digest or notice.body["agency"] != session.agency.name:
            raise Fault(f"{name}: the refusal of something else")
    return seen


def exchange(session, options):
    """Requests and answers that are not in order."""
    agency = session.agency
    session.wait("the members", lambda: options.holder in agency.memory["members"])
    handle = os.urandom(32)

    def question(change=lambda q: None, resign=True):
        made = Question(session, handle, options.holder, "in_service", "known")
        change(made)
        return made.submit(agency) if resign else made

    def answer(request):
        sealed = codec.seal(codec.public_bytes(agency.sealing), bytes(32), request.encode(),
                            b"{}", codec.SHORT_ANSWER)
        body = {"answer": {"outcome": Opening("outcome", b"released").hex(),
                           "permit": bytes(32).hex(), "request": request,
                           "sealed": codec.sha256(sealed).hex()}}
        return agency.submit(agency.statement(body), (), {"answer": sealed})

    own = question(resign=False)
    session.done(own.submit(agency))
    other = question(lambda q: q.body.update(request=own.id))
    without_opening = question()
    del without_opening.openings[:]
    wrong_opening = question()
    wrong_opening.openings[0].random = bytes(32)
    unknown_opening = question()
    unknown_opening.openings[0].field = "nickname"
    giant_opening = question()
    giant_opening.openings[0].data = bytes(200_000)
    without_context = question()
    without_context.payloads.clear()
    tampered = question()
    tampered.payloads["context"] = bytes(len(tampered.payloads["context"]))
    giant = bytes(17 * 1024)

    def with_giant_context(made):
        made.context = giant
        made.body.update(context=codec.sha256(giant).hex())

    many = [{"category": "in_service", "level": "known"}] * 17
    subject = Opening("subject", handle)
    terms = consent_terms(agency, subject, "in_service", ["house"] * 2_000)
    giant_list = agency.submit(agency.statement({"consent": terms}), [subject])
    crowd = [f"agency-{n:033}" for n in range(1_200)]
    giant_case = agency.submit(agency.statement({"case_opening": {
        "agencies": [agency.name] + crowd, "case": fresh_id("case"),
        "profile": "situation_table"}}))
    withdrawal = {"withdrawal": {"consent": fresh_id("consent"), "scope": "all"}}
    renewal = {"renewal": {"permit": bytes(32).hex(), "request": own.id}}
    cases = [
        ("another request under the same id", other),
        ("no opening", without_opening),
        ("an opening that opens nothing", wrong_opening),
        ("an opening of an unknown field", unknown_opening),
        ("a giant opening", giant_opening),
        ("no context", without_context),
        ("another context", tampered),
        ("a giant context", question(with_giant_context)),
        ("seventeen items", question(lambda q: q.body.update(items=many))),
        ("no items", question(lambda q: q.body.update(items=[]))),
        ("asking oneself", question(lambda q: q.body.update(holder=agency.name))),
        ("asking nobody", question(lambda q: q.body.update(holder="nobody-here"))),
        ("void already", question(lambda q: q.body.update(not_after=now_ms() - 1))),
        ("void in a year", question(lambda q: q.body.update(not_after=now_ms() + 365 * DAY_MS))),
        ("an answer to nothing", answer(fresh_id("req"))),
        ("an answer in another's place", answer(own.id)),
        ("a renewal in another's place", agency.submit(agency.statement(renewal))),
        ("a consent with a giant list", giant_list),
        ("a giant statement", giant_case),
        ("a withdrawal of nothing", agency.submit(agency.statement(withdrawal))),
    ]
    return [_outcome(session, name, submit) for name, submit in cases]


def answers(session, options):
    """As a holder: an answer without a permit, though one was asked for it. `hold` comes first
    for the consent; then this one has a permit and does other things with it."""
    agency = session.agency
    session.wait("the members", lambda: options.recipient in agency.memory["members"])
    handle = session.handle(codec.match_token(options.family, options.given, options.born))
    subject = Opening("subject", handle)
    terms = consent_terms(agency, subject, options.category, [options.recipient])
    session.done(agency.submit(agency.statement({"consent": terms}), [subject]))
    print(json.dumps({"consent": terms["consent"]}), flush=True)
    offer = session.notice("a permit", lambda n: n.kind == "offered"
                           and n.body["permit"]["holder"] == agency.name)
    permit, digest, _, _ = session.checked_permit(offer)

    def answer(permit_digest, sealed, signed=None):
        body = {"answer": {"outcome": Opening("outcome", b"released").hex(),
                           "permit": permit_digest.hex(), "request": permit["request"],
                           "sealed": codec.sha256(signed or sealed).hex()}}
        return agency.submit(agency.statement(body), (), {"answer": sealed})

    sealed = codec.seal(bytes.fromhex(permit["reply_key"]), digest, permit["request"].encode(),
                        b"{}", codec.SHORT_ANSWER)
    cases = [
        ("an answer under another permit", answer(bytes(32), sealed)),
        ("an answer that was not signed", answer(digest, sealed, b"another")),
        ("a giant answer", answer(digest, bytes(301 * 1024))),
    ]
    seen = [_outcome(session, name, submit) for name, submit in cases]
    # What is not an answer at all is sealed, so the broker forwards it; the requester refuses it.
    session.done(answer(digest, sealed))
    seen.append(_outcome(session, "a second answer", answer(digest, sealed)))
    return seen + [{"case": "request", "request": permit["request"]}]


def frames(session, _):
    """Frames out of order or form: each ends its stream, and the next stream is served."""
    agency = session.agency
    session.__exit__()
    hello = wire.Hello(protocol=1, witness_size=agency.memory["size"])
    seen = []
    firsts = [
        ("no frame", wire.AgentFrame()),
        ("a statement first", wire.AgentFrame(submit=wire.Submit())),
        ("protocol 0", wire.AgentFrame(hello=wire.Hello())),
        ("protocol 2", wire.AgentFrame(hello=wire.Hello(protocol=2))),
    ]
    for name, first in firsts:
        try:
            with Session(agency, first=first):
                raise Fault(f"{name}: welcomed")
        except Ended as ended:
            seen.append({"case": name, "code": ended.code})
    honest = agency.submit(agency.statement(case_opening(agency)))
    short = wire.Submit()
    short.CopyFrom(honest)
    short.envelope.signature = bytes(63)
    giant = wire.Submit()
    giant.CopyFrom(honest)
    giant.payloads["context"] = bytes(600 * 1024)
    laters = [
        ("an empty frame", wire.AgentFrame()),
        ("hello again", wire.AgentFrame(hello=hello)),
        ("no envelope", wire.AgentFrame(submit=wire.Submit(call=1))),
        ("a short signature", wire.AgentFrame(submit=short)),
        ("a giant message", wire.AgentFrame(submit=giant)),
    ]
    for name, frame in laters:
        with Session(agency) as stream:
            stream.send(frame)
            seen.append({"case": name, "code": stream.wait_end()})
    with Session(agency) as stream:
        stream.done(honest)
    return seen


def witness(session, options):
    """Cosignatures that are wrong or too many: none counts, nobody else is held up."""
    agency = session.agency
    session.__exit__()
    fork = os.urandom(32)

    def forked(checkpoint):
        return f"{agency.log.name}\n{checkpoint.size}\n{codec.b64(fork)}\n"

    def lie(how):
        def answer(agency_, round_):
            checkpoint = tlog.Checkpoint(tlog.Note(round_.checkpoint), agency_.log)
            return how(checkpoint, round_)
        return answer

    def wrong_root(checkpoint, _):
        return [cosigned(agency, checkpoint, forked(checkpoint))]

    def equivocation(checkpoint, round_):
        return honest_witness(agency, round_) + [cosigned(agency, checkpoint, forked(checkpoint))]

    def other_name(checkpoint, _):
        key = agency.witness_verifier("clinic", codec.public_bytes(agency.witness))
        return [cosigned(agency, checkpoint, key=key)]

    def garbage(checkpoint, _):
        return [wire.AgentFrame(cosigned=wire.Cosigned(size=checkpoint.size, signature="x"))]

    def shrunk(checkpoint, _):
        return [wire.AgentFrame(cosigned=wire.Cosigned(size=1, signature="")),
                wire.AgentFrame(cosign_refused=wire.CosignRefused(
                    size=checkpoint.size, status=409, known_size=2**63))]

    seen, got = [], set()
    for name, how in (("a wrong root", wrong_root), ("equivocation", equivocation),
                      ("another's name", other_name), ("garbage", garbage),
                      ("a shrunk log", shrunk)):
        with Session(agency, witnessing=lie(how)) as stream:
            reply = stream.say(agency.submit(agency.statement(case_opening(agency))))
            if reply.code == "no_quorum" and how is shrunk:
                # Its lie may be heard before its statement: who saw a longer log waits.
                index = seen[-1]["index"]
            elif reply.code or not reply.logged:
                raise Fault(f"refused: {reply.code}")
            else:
                index = reply.index
            stream.wait("a round", lambda: stream.rounds)
            reader = rpc.LogReadStub(stream.connection)
            _published(reader, agency, index, fork)
            seen.append({"case": name, "index": index})
        got |= {notice.index for notice in stream.notices}
    # And back: a witness that cosigns by the rule again gets what it missed.
    with Session(agency) as stream:
        index = stream.done(agency.submit(agency.statement(case_opening(agency))))
        stream.notice("its own statement", lambda n: n.index == index)
    got |= {notice.index for notice in stream.notices}
    if any(case["index"] not in got for case in seen):
        raise Fault("notices were lost")
    return seen


def _published(reader, agency, index, fork):
    """Waits until the others have published a checkpoint that covers the entry: without a line
    of this agency's that does not verify, and not the fork."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        text = reader.LatestCheckpoint(wire.LatestCheckpointRequest(), timeout=20).checkpoint
        checkpoint = tlog.Checkpoint(tlog.Note(text), agency.log)
        # A wrong line in its name would be a fault here.
        checkpoint.cosigned_by(agency.witness_key)
        if checkpoint.root == fork:
            raise Fault("the fork was published")
        if checkpoint.size > index:
            return
        time.sleep(0.05)
    raise Fault("the others' log stands still")


def certificates(session, options):
    """Certificates that are not this agency's present one. `ca` is the federation's own root with
    its key, to make what nobody should be able to make."""
    agency = session.agency
    with open(options.ca, "rb") as file:
        pem = file.read()
    root = x509.load_pem_x509_certificate(pem)
    root_key = serialization.load_pem_private_key(pem, None)
    stranger = ec.generate_private_key(ec.SECP256R1())
    uri = f"passerelle://{agency.federation}/{agency.name}"
    cases = [
        ("expired", _certificate(root.subject, root_key, uri, -2, -1)),
        ("not valid yet", _certificate(root.subject, root_key, uri, 1, 2)),
        ("of another CA", _certificate(root.subject, stranger, uri, -1, 1)),
        ("signed by itself", _certificate(None, None, uri, -1, 1)),
        ("of another federation", _certificate(
            root.subject, root_key, f"passerelle://another/{agency.name}", -1, 1)),
        ("of a broker", _certificate(
            root.subject, root_key, f"passerelle-broker://{agency.federation}", -1, 1)),
        ("never issued", _certificate(root.subject, root_key, uri, -1, 1)),
        ("none", None),
    ]
    seen = []
    for name, identity in cases:
        began = time.time()
        try:
            with channel(agency.address, agency.about["root"].encode(), identity) as connection:
                rpc.LogReadStub(connection).LatestCheckpoint(
                    wire.LatestCheckpointRequest(), timeout=20)
                raise Fault(f"a certificate `{name}` was served")
        except grpc.RpcError as error:
            seen.append({"case": name, "code": code_of(error) or "refused",
                         "status": error.code().name, "took_s": time.time() - began})
    return seen


def _certificate(issuer, issuer_key, uri, from_days, to_days):
    """(key, certificate), both PEM, for the URI."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign")])
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = x509.KeyUsage(digital_signature=True, content_commitment=False,
                          key_encipherment=False, data_encipherment=False, key_agreement=False,
                          key_cert_sign=False, crl_sign=False, encipher_only=False,
                          decipher_only=False)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer or name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=from_days))
        .not_valid_after(now + datetime.timedelta(days=to_days))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(usage, True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(issuer_key or key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
    return private, made.public_bytes(pem)
