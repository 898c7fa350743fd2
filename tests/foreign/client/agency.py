"""One agency, from its invitation on: keys, certificate, what it must remember, statements.

In scope: the state directory, enrolment, signing, what notices say of members and permits.
Out of scope: the stream (session.py).
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import time

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.x509.oid import NameOID
from passerelle.v1 import exchange_pb2 as wire
from passerelle.v1 import exchange_pb2_grpc as rpc

import codec
import tlog
from codec import Fault

# The certificate also has these names, for clients that can't check its URI themselves.
TARGET = (("grpc.ssl_target_name_override", "localhost"),
          ("grpc.max_receive_message_length", 512 * 1024),
          ("grpc.max_send_message_length", 1 << 24))


def now_ms():
    return int(time.time() * 1000)


def fresh_id(prefix):
    return f"{prefix}-{os.urandom(16).hex()}"


def _presented_chain(host, port):
    """The certificates that whoever is at this address shows, none of them believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, port), 10) as tcp:
        with context.wrap_socket(tcp) as tls:
            # Public from Python 3.13 on.
            if hasattr(tls, "get_unverified_chain"):
                return tls.get_unverified_chain()
            chain = tls._sslobj.get_unverified_chain()
            return [ssl.PEM_cert_to_DER_cert(cert.public_bytes()) for cert in chain]


def _check_broker(der, federation):
    """The broker is known by its URI, and by nothing else."""
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    wanted = f"passerelle-broker://{federation or ''}"
    if not any(uri == wanted or (not federation and uri.startswith(wanted)) for uri in uris):
        raise Fault("whoever answers is not the broker of this federation")


def channel(address, root_pem, identity=None):
    """A connection; `identity` is (key, certificate), both PEM."""
    key, certificate = identity or (None, None)
    credentials = grpc.ssl_channel_credentials(root_pem, key, certificate)
    return grpc.secure_channel(address, credentials, options=TARGET)


def code_of(error):
    """The error code in the trailers of a failed call."""
    for name, value in error.trailing_metadata() or ():
        if name == "passerelle-code":
            return value
    return None


class Agency:
    """See the module."""

    def __init__(self, directory):
        self.directory = directory
        with open(self._path("agency.json"), encoding="utf-8") as file:
            self.about = json.load(file)
        about = self.about
        self.name, self.federation = about["agency"], about["federation"]
        self.address = about["address"]
        self.signing = ed25519.Ed25519PrivateKey.from_private_bytes(_secret(about, "signing"))
        self.sealing = x25519.X25519PrivateKey.from_private_bytes(_secret(about, "sealing"))
        self.witness = ed25519.Ed25519PrivateKey.from_private_bytes(_secret(about, "witness"))
        self.log = tlog.VerifierKey.parse(about["checkpoint_key"])
        self.permit_key = bytes.fromhex(about["permit_key"])
        self.oprf_key = bytes.fromhex(about["oprf_key"])
        self.witness_key = self.witness_verifier(
            self.name, codec.public_bytes(self.witness))
        self.memory = {"next_notice": 0, "next_member": 0, "size": 0,
                       "root": tlog.EMPTY_ROOT.hex(), "members": {}}
        if os.path.exists(self._path("memory.json")):
            with open(self._path("memory.json"), encoding="utf-8") as file:
                self.memory = json.load(file)

    def _path(self, name):
        return os.path.join(self.directory, name)

    def remember(self):
        """Durable when it returns: a witness that forgot could cosign a fork."""
        _write(self._path("memory.json"), json.dumps(self.memory))

    def witness_verifier(self, agency, public):
        return tlog.VerifierKey(f"{self.federation}/{agency}", 4, public)

    def witnesses(self):
        """The panel: the members of longest standing, as many as the founding fixed."""
        members = sorted(self.memory["members"].items(), key=lambda m: m[1]["since"])
        return [self.witness_verifier(name, bytes.fromhex(keys["witness"]))
                for name, keys in members[: self.about["panel"]]]

    @property
    def identity(self):
        about = self.about
        return about["tls_key"].encode(), about["certificate"].encode()

    def connect(self, identity=None):
        host, port = self.address.rsplit(":", 1)
        root = self.about["root"].encode()
        # grpc can't be told to look at the URI, so it is looked at beside: an agency's certificate
        # is not for servers and has no such name, so it would fail in grpc too.
        _check_broker(_presented_chain(host, int(port))[0], self.federation)
        return channel(self.address, root, identity or self.identity)

    def statement(self, body, **changes):
        """A statement of this agency, made now."""
        plain = {"@version": 1, "agency": self.name, "at": now_ms(), "body": body,
                 "federation": self.federation}
        return {**plain, **changes}

    def sign(self, payload):
        """Any bytes as a signed statement."""
        signature = self.signing.sign(codec.pae(codec.STATEMENT_TYPE, payload))
        return wire.Envelope(payload=payload, signature=signature)

    def submit(self, statement, openings=(), payloads=None):
        """A frame that says it."""
        payload = statement if isinstance(statement, bytes) else codec.canonical(statement)
        openings = [wire.Opening(field=o.field, random=o.random, data=o.data) for o in openings]
        return wire.Submit(envelope=self.sign(payload), openings=openings,
                           payloads=payloads or {})


def _secret(about, name):
    return bytes.fromhex(about["secret"][name])


def _write(path, text):
    temporary = path + ".new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
              encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _raw(private):
    formats = serialization.Encoding.Raw, serialization.PrivateFormat.Raw
    return private.private_bytes(*formats, serialization.NoEncryption()).hex()


def enrol(directory, address, invitation):
    """Exchanges an invitation for membership; writes the state directory."""
    encoded = invitation.strip().removeprefix("pass1.")
    secret = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    fingerprint, token = secret[:32], secret[32:]
    host, port = address.rsplit(":", 1)
    chain = _presented_chain(host, int(port))
    roots = [der for der in chain if hashlib.sha256(der).digest() == fingerprint]
    if len(token) != 32 or not roots:
        raise Fault("the broker does not show the root that the invitation names")
    _check_broker(chain[0], None)
    root_pem = ssl.DER_cert_to_PEM_cert(roots[0])
    tls_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anybody")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(
        tls_key, hashes.SHA256())
    signing, witness = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    sealing = x25519.X25519PrivateKey.generate()
    with channel(address, root_pem.encode()) as connection:
        reply = rpc.EnrolmentStub(connection).Enrol(wire.EnrolRequest(
            token=token,
            csr_pem=request.public_bytes(serialization.Encoding.PEM).decode(),
            signing_key=codec.public_bytes(signing),
            sealing_key=codec.public_bytes(sealing),
            witness_key=codec.public_bytes(witness)), timeout=20)
    if hashlib.sha256(ssl.PEM_cert_to_DER_cert(reply.ca_pem)).digest() != fingerprint:
        raise Fault("the broker sent another root")
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    about = {
        "agency": reply.agency, "sector": reply.sector, "federation": reply.federation,
        "address": address, "root": reply.ca_pem, "certificate": reply.certificate_pem,
        "tls_key": tls_key.private_bytes(*pem, serialization.NoEncryption()).decode(),
        "checkpoint_key": reply.checkpoint_key, "permit_key": reply.permit_key.hex(),
        "oprf_key": reply.oprf_key.hex(), "joined": reply.index, "panel": reply.witness_panel,
        "secret": {"signing": _raw(signing), "sealing": _raw(sealing), "witness": _raw(witness)},
    }
    os.makedirs(directory, mode=0o700, exist_ok=True)
    _write(os.path.join(directory, "agency.json"), json.dumps(about))
    return Agency(directory)
