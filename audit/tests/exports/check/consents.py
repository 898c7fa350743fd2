"""Checks consent records: FHIR R4 Consent, and ISO/IEC TS 27560 as JSON-LD with terms of DPV.

Neither the W3C community group nor ISO publishes shapes for the record, so its mandatory fields
are checked as the group's guide lists them (section 8 of the guide of 2026-02-15).
"""

import json
import os

SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
# Codes of R4's value sets for the elements that are used.
STATUS = {"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"}
SCOPES = {"adr", "research", "patient-privacy", "treatment"}
ACTIONS = {"collect", "access", "use", "disclose", "correct"}
PRIVACY = {"ICOL", "IDSCL", "INFA", "INFAO", "INFASO", "IRDSCL", "RESEARCH", "RSDID", "RSREID"}
ROLES = {"IRCP", "CST"}


def codes(concepts):
    for concept in concepts:
        for coding in concept.get("coding", []):
            yield coding.get("code")


def provisions(provision):
    yield provision
    for below in provision.get("provision", []):
        yield from provisions(below)


def extensions(value):
    if isinstance(value, dict):
        yield from value.get("extension", [])
        for below in value.values():
            yield from extensions(below)
    elif isinstance(value, list):
        for below in value:
            yield from extensions(below)


def consent_rules(consent):
    """What R4 asks beyond the form of the model: its invariants, and its value sets."""
    for extension in extensions(consent):
        if "url" not in extension or sum(f.startswith("value") for f in extension) != 1:
            yield "extension (url 1..1, ext-1)"
    if consent["status"] not in STATUS:
        yield "status"
    if not ("policy" in consent or "policyRule" in consent):
        yield "ppc-1"
    scope = set(codes([consent["scope"]]))
    if not scope or not scope <= SCOPES:
        yield "scope"
    if "patient-privacy" in scope and "patient" not in consent:
        yield "ppc-2"
    if not set(codes(consent["category"])) <= PRIVACY:
        yield "category"
    for provision in provisions(consent.get("provision", {})):
        if provision.get("type") not in ("permit", "deny"):
            yield "provision.type"
        period = provision.get("period", {})
        if period and not period.get("start", "") <= period.get("end", ""):
            yield "per-1"
        if not set(codes(provision.get("action", []))) <= ACTIONS:
            yield "provision.action"
        for actor in provision.get("actor", []):
            if not set(codes([actor["role"]])) <= ROLES:
                yield "provision.actor.role"


def fhir(text):
    from fhir.resources import __fhir_version__
    from fhir.resources.consent import Consent

    assert __fhir_version__ == "4.0.1", __fhir_version__
    for number, line in enumerate(text.splitlines(), 1):
        try:
            Consent.parse_raw(line)
        except ValueError as error:
            yield f"{number}: {error}"
            continue
        for wrong in consent_rules(json.loads(line)):
            yield f"{number}: {wrong}"


DPV = "https://w3id.org/dpv"
OWN = "urn:passerelle:term:"
# Other vocabularies, and what of them is used.
OTHERS = {
    "http://purl.org/dc/terms/conformsTo",
    "http://purl.org/dc/terms/identifier",
    "http://purl.org/dc/terms/language",
    "http://purl.org/dc/terms/publisher",
    "http://purl.org/dc/terms/title",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#type",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#value",
    "http://www.w3.org/2004/02/skos/core#broader",
    "https://schema.org/address",
    "https://schema.org/contactPoint",
    "https://schema.org/description",
    "https://schema.org/streetAddress",
}
SCHEMA = "https://w3id.org/dpv/schema/dpv-27560#record"


def vocabulary():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dpv-2.3.txt")
    with open(path, encoding="utf-8") as file:
        lines = [line.split() for line in file if not line.startswith("#")]
    return {iri: kind for kind, iri in lines}


def terms(graph, known):
    """Every word is one of the published vocabulary, in its place, or one of our own."""
    from rdflib import RDF, URIRef

    for subject, predicate, value in graph:
        if known.get(str(predicate)) != "property" and str(predicate) not in OTHERS:
            if not str(predicate).startswith(OWN):
                yield f"property {predicate}"
        if predicate == RDF.type and str(value).startswith(DPV):
            if known.get(str(value)) != "class":
                yield f"class {value}"
        for node in (subject, value):
            if isinstance(node, URIRef) and str(node).startswith(DPV) and str(node) != SCHEMA:
                if str(node) not in known:
                    yield f"term {node}"


def mandatory(graph):
    """The fields that must be there (8.1 to 8.5), with how many."""
    from rdflib import RDF, Namespace, URIRef

    dpv = Namespace(DPV + "#")
    dct = Namespace("http://purl.org/dc/terms/")
    schema = Namespace("https://schema.org/")
    records = list(graph.subjects(RDF.type, dpv.ConsentRecord))
    if len(records) != 1:
        yield "one record"
        return
    record = records[0]

    def wants(node, name, properties, most=None):
        for wanted in properties:
            count = len(list(graph.objects(node, wanted)))
            if count < 1 or (most and count > most):
                yield f"{name}: {count} of {wanted}"

    yield from wants(record, "record", [dct.conformsTo, dpv.hasDataSubject], 1)
    yield from wants(
        record,
        "record",
        [dct.identifier, dpv.hasNotice, dpv.hasProcess, dpv.hasJurisdiction, dpv.hasEntity,
         dpv.hasConsentStatus],
    )
    if (record, dct.conformsTo, URIRef(SCHEMA)) not in graph:
        yield "schema version"
    for notice in graph.objects(record, dpv.hasNotice):
        yield from wants(notice, "notice", [dct.language])
    parties = set(graph.objects(record, dpv.hasEntity))
    for process in graph.objects(record, dpv.hasProcess):
        named = [dpv.hasDataController, dpv.hasRecipient]
        yield from wants(
            process,
            "process",
            named + [dpv.hasPurpose, dpv.hasPersonalData, dpv.hasStorageCondition,
                     dpv.hasConsentControl, dpv.hasRight],
        )
        for role in named:
            if not set(graph.objects(process, role)) <= parties:
                yield f"{role} is not described"
        conditions = set()
        for condition in graph.objects(process, dpv.hasStorageCondition):
            conditions |= set(graph.objects(condition, RDF.type))
        if not {dpv.StorageLocation, dpv.StorageDuration} <= conditions:
            yield "storage location and retention"
        for node in graph.objects(process, dpv.hasPurpose):
            if (node, RDF.type, dpv.Purpose) not in graph:
                yield "type of a purpose"
        kinds = {dpv.PersonalData, dpv.SensitivePersonalData, dpv.SpecialCategoryPersonalData}
        for node in graph.objects(process, dpv.hasPersonalData):
            if not kinds & set(graph.objects(node, RDF.type)):
                yield "type of personal data"
    for party in parties:
        yield from wants(
            party, "party",
            [dpv.hasName, dpv.hasIdentifier, schema.contactPoint, schema.address, RDF.type],
        )
    given = set(graph.subjects(RDF.type, dpv.ConsentGiven))
    if not given & set(graph.objects(record, dpv.hasConsentStatus)):
        yield "given"
    for event in given:
        yield from wants(
            event, "event", [dpv.isIndicatedAtTime, dpv.hasDuration, dpv.isIndicatedBy], 1
        )


def iso27560(text):
    from rdflib import Graph

    known = vocabulary()
    for number, line in enumerate(text.splitlines(), 1):
        graph = Graph()
        graph.parse(data=line, format="json-ld")
        for wrong in [*terms(graph, known), *mandatory(graph)]:
            yield f"{number}: {wrong}"
