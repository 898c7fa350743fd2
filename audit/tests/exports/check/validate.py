"""Checks files against published models and schemas: arguments are `kind:path`.

Prints a JSON list with, for each file, how many documents it has and what is wrong with them.
Kinds: fhir (NDJSON of AuditEvents), ocsf (NDJSON of API Activity), html (one page), consent-fhir
(NDJSON of Consents), consent-27560 (one JSON-LD record a line).
"""

import json
import re
import sys

# The tests leave nothing in the sources.
sys.dont_write_bytecode = True

import consents

DCM = "http://dicom.nema.org/resources/ontology/DCM"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure."
# Profile: type, action, the agent that must be the observer.
SIDES = {
    "Source": ("110106", "R", "110153"),
    "Recipient": ("110107", "C", "110152"),
}


def has(coding, system, code):
    return coding.get("system") == system and coding.get("code") == code


def balp(event, side):
    """The rules of the profile (BALP 1.1.4) beyond those of the resource."""
    kind, action, observer = SIDES[side]
    agents = {}
    for agent in event["agent"]:
        for coding in agent.get("type", {}).get("coding", []):
            agents.setdefault(coding["code"], []).append(agent)
    if not has(event["type"], DCM, kind):
        yield "type"
    if event.get("action") != action:
        yield "action"
    if sum(has(s, LIFECYCLE, "disclose") for s in event.get("subtype", [])) != 1:
        yield "subtype disclose"
    if "outcome" not in event:
        yield "outcome"
    for code in ("110153", "110152"):
        found = agents.get(code, [])
        if len(found) != 1 or "who" not in found[0] or "network" not in found[0]:
            yield f"agent {code}"
    if [a.get("who") for a in agents.get(observer, [])] != [event["source"]["observer"]]:
        yield "val-audit-source"
    entities = event.get("entity", [])
    patients = [e for e in entities if has(e.get("type", {}), ENTITY_TYPE, "1")]
    if len(entities) < 2 or len(patients) != 1:
        yield "entities"
    for patient in patients:
        if not has(patient.get("role", {}), OBJECT_ROLE, "1"):
            yield "role of the patient"
        if patient["what"].get("type") != "Patient":
            yield "the patient is none"


def fhir(text):
    from fhir.resources import __fhir_version__
    from fhir.resources.auditevent import AuditEvent

    assert __fhir_version__ == "4.0.1", __fhir_version__
    ids = set()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            AuditEvent.parse_raw(line)
        except ValueError as error:
            yield f"{number}: {error}"
            continue
        event = json.loads(line)
        if event["id"] in ids:
            yield f"{number}: the id is used twice"
        ids.add(event["id"])
        for profile in event.get("meta", {}).get("profile", []):
            if not profile.startswith(BALP):
                yield f"{number}: unknown profile {profile}"
                continue
            for wrong in balp(event, profile[len(BALP):]):
                yield f"{number}: {profile}: {wrong}"


def ocsf(text):
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    validators = {}
    for number, line in enumerate(text.splitlines(), 1):
        event = json.loads(line)
        version = event["metadata"]["version"]
        if version not in validators:
            schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
            name = schemas.lookup_class_name_from_uid(6003)
            assert name == "api_activity", name
            validators[version] = Draft202012Validator(schemas.get_class_schema(name))
        for error in validators[version].iter_errors(event):
            yield f"{number}: {error.json_path}: {error.message[:300]}"
        if event.get("type_uid") != event.get("class_uid", 0) * 100 + event.get("activity_id", 0):
            yield f"{number}: type_uid"


def html(text):
    import html5lib

    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    page = parser.parse(text)
    for position, code, _ in parser.errors:
        yield f"{position}: {code}"
    if page.get("lang") not in ("en", "fr"):
        yield "no language"
    if not (page.findtext(".//title") or "").strip():
        yield "no title"
    for table in page.iter("table"):
        if table.find("caption") is None:
            yield "a table without caption"
        heads = table.findall("./thead/tr/th")
        if not heads or any(th.get("scope") != "col" for th in heads):
            yield "a table without heads of columns"
        for row in table.findall("./tbody/tr"):
            if len(row) != len(heads):
                yield "a row of another width"
    for element in page.iter():
        if element.tag in ("script", "link", "img", "iframe", "object", "form", "a"):
            yield f"element {element.tag}"
        for name in element.keys():
            if name.startswith("on") or name in ("src", "href", "style"):
                yield f"attribute {name}"
    style = page.findtext(".//style") or ""
    if re.search(r"url\(|@import", style):
        yield "a resource from elsewhere"
    if "@media print" not in style:
        yield "no style for print"


def main():
    kinds = {
        "fhir": fhir,
        "ocsf": ocsf,
        "html": html,
        "consent-fhir": consents.fhir,
        "consent-27560": consents.iso27560,
    }
    results = []
    for argument in sys.argv[1:]:
        kind, path = argument.split(":", 1)
        # No translation of line ends, which would hide a stray one.
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        errors = list(kinds[kind](text))
        results.append({"documents": text.count("\n"), "errors": errors})
    print(json.dumps(results))


main()
