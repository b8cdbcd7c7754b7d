"""Verifies bundles of `liveness audit export` as docs/audit.md says. Shares nothing with the product.

Usage: verify_bundle.py --key PEM... [--anchor FILE]... BUNDLE...
Prints the differences of each bundle under its name; exit code 0 only when there are none.
Needs Python 3.9 and `cryptography`, which is used for Ed25519 alone.
"""
import base64
import hashlib
import json
import sys
from decimal import Context, Decimal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

PARTS = ["anchors", "metering", "event", "statement"]
TERMS = ["plan", "monthlyLimit", "monthlyFee", "overageUnitPrice"]
EXACT = Context(prec=200)
sha = lambda data: hashlib.sha256(data).hexdigest()


def canonical(value):
    """RFC 8785 for what occurs here: no fractions, ASCII keys."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")


def whole(value):
    """Refuses what the format rules out and a JSON reader would let pass."""
    if isinstance(value, (float, type(None))):
        raise ValueError("fractions and null have no place in a bundle")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        whole(inner)
    return value


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves):
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root_of(leaves[:half]), root_of(leaves[half:]))


def leaf(head):
    return hashlib.sha256(b"\x00" + canonical(head)).digest()


def root_by_proof(member, size):
    """RFC 9162, 2.1.3.2."""
    fn, sn, r = member["index"], size - 1, leaf(member["head"])
    if not 0 <= fn < size:
        return None
    for sibling in map(bytes.fromhex, member["proof"]):
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node(sibling, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, sibling)
        fn, sn = fn >> 1, sn >> 1
    return r.hex() if sn == 0 else None


class Keys:
    """Those whose signatures count."""

    def __init__(self, paths):
        self.by_id = {}
        for path in paths:
            with open(path, "rb") as file:
                key = load_pem_public_key(file.read())
            self.by_id[sha(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))] = key

    def fault(self, value, signature):
        if value["key"] not in self.by_id:
            return "it is signed with another key"
        try:
            self.by_id[value["key"]].verify(base64.b64decode(signature), canonical(value))
        except InvalidSignature:
            return "its signature is wrong"
        return None


def without(value, *names):
    return {name: inner for name, inner in value.items() if name not in names}


def point_faults(point, customer, metering, key):
    anchor = point["anchor"]
    fault = key.fault(without(anchor, "signature"), anchor["signature"])
    if fault:
        return [fault]
    faults, members = [], [(point["customer"], customer), (point["metering"], metering)]
    for member, stream in members:
        if member["head"][0] != stream:
            faults.append("it proves the head of %s, not that of %s" % (member["head"][0], stream))
        if root_by_proof(member, anchor["streams"]) != anchor["root"]:
            faults.append("the head of %s does not lead to its root" % member["head"][0])
    return faults


def load_anchor(path, key):
    with open(path, "rb") as file:
        anchor = whole(json.load(file))
    heads = anchor["heads"]
    names = [head[0] for head in heads]
    signed = without(anchor, "signature", "heads")
    right = signed["streams"] == len(heads) and names == sorted(set(names))
    if key.fault(signed, anchor["signature"]) or not right or root_of([leaf(h) for h in heads]).hex() != anchor["root"]:
        sys.exit("the anchor %s cannot be trusted" % path)
    return {"through": anchor["through"], "heads": {name: (int(revision), digest) for name, revision, digest in heads}}


class Chain:
    """One stream between two heads."""

    def __init__(self, stream, start, end, kept, say):
        self.stream, self.start, self.head, self.end, self.kept, self.say = stream, start, start, end, kept, say

    def add(self, event, where):
        metadata, revision = event["metadata"], int(event["revision"])
        if event["stream"] != self.stream:
            self.say(where, "it is not of the stream " + self.stream)
        if revision != self.head[0] + 1:
            self.say(where, "expected revision %d" % (self.head[0] + 1))
        if metadata.get("prevHash") != self.head[1]:
            self.say(where, "its prevHash is not the hash of the event before it")
        if metadata.get("hash") != sha(canonical({**event, "metadata": without(metadata, "hash")})):
            self.say(where, "its hash is not that of its content")
        self.head = (revision, metadata.get("hash"))
        for anchor in self.kept:
            known = anchor["heads"].get(self.stream)
            if known and known[0] == revision and known[1] != self.head[1]:
                self.say(where, "it is not the event anchored at " + anchor["through"])

    def close(self):
        if self.head != self.end:
            self.say(self.stream, "it ends at revision %d, the anchor after has %d" % (self.head[0], self.end[0]))
        for anchor in self.kept:
            known = anchor["heads"].get(self.stream)
            if known and known[0] == self.start[0] and known[1] != self.start[1]:
                self.say(self.stream, "it begins behind another event than the anchor of " + anchor["through"])


class Customer:
    """The rules of a customer's stream. `state` is None until it is known."""

    def __init__(self, customer, from_start, first):
        self.customer, self.first, self.time = customer, first, ""
        self.state = {"month": "", "registered": False, "keys": {}} if from_start else None
        self.voided, self.replayed, self.calls = set(), set(), {}

    def add(self, event):
        kind, data, revision = event["type"], event["data"], int(event["revision"])
        if data["customerId"] != self.customer:
            yield "it names another customer"
        if data["occurredAt"] < self.time:
            yield "its time lies before that of the event before it"
        self.time = data["occurredAt"]
        if kind in ("DetectionReplayed", "DetectionVoided"):
            if data["detectionId"] in self.voided or data["detectionId"] in self.replayed:
                yield "its call was voided or replayed before"
            (self.voided if kind == "DetectionVoided" else self.replayed).add(data["detectionId"])
        if kind == "DetectionVoided" and data["revision"] >= self.first:
            call = self.calls.get(data["revision"])
            if call is None or any(call[n] != data[n] for n in ("detectionId", "yearMonth", "funding", "bucketKey")):
                yield "no such call stands at revision %d" % data["revision"]
        if kind == "DetectionSucceeded":
            self.calls[revision] = data
        if self.state is not None:
            yield from self.faults(kind, data)
        if self.state is not None or kind == "MonthlyCreditsGranted":
            self.state = self.evolve(self.state or {}, kind, data)

    def faults(self, kind, data):
        s, at = self.state, data["occurredAt"]
        if (kind == "CustomerRegistered") == s["registered"]:
            yield "a registration stands at the beginning of the stream, and only there"
            return
        if kind == "CustomerRegistered":
            return
        if kind == "MonthlyCreditsGranted":
            if data["yearMonth"] != at[:7] or data["yearMonth"] <= s["month"]:
                yield "it does not open the month of its time"
                return
            scheduled = s.get("scheduled")
            due = scheduled is not None and scheduled["effectiveMonth"] <= data["yearMonth"]
            expected = {name: (scheduled if due else s["terms"])[name] for name in TERMS}
            expected.update({name: s[name] for name in ("hardCap", "keys", "licence", "deactivated")})
            expected.update({name: s[name] for name in ("scheduled", "ended") if s.get(name) is not None})
            if due:
                expected.pop("scheduled")
            found = without(data, "customerId", "occurredAt", "yearMonth")
            for name in sorted(set(expected) | set(found)):
                if expected.get(name) != found.get(name):
                    yield "its %s is not what held before it" % name
            return
        if at[:7] != s["month"]:
            yield "it is the first event of its month, and not that month's opener"
        slot = s["keys"].get(data.get("slot"), {})
        if kind == "DetectionSucceeded":
            yield from self.call_faults(s, data)
        elif kind == "ApiKeyIssued" and slot:
            yield "its slot holds a key already"
        elif kind == "ApiKeyRegenerated" and slot.get("keyId") != data["replacedKeyId"]:
            yield "it replaces a key that was not there"
        elif kind == "ApiKeyDeactivated" and slot.get("keyId") != data["keyId"]:
            yield "it deactivates a key that was not there"
        elif kind == "PlanChanged" and data["from"] != s["terms"]["plan"]:
            yield "it changes another plan than held"
        elif kind == "MonthlyLimitChanged":
            if (data["from"], data["plan"]) != (s["terms"]["monthlyLimit"], s["terms"]["plan"]):
                yield "it changes another limit than held"
        elif kind == "ScheduledPlanChangeCancelled":
            scheduled = s.get("scheduled") or {}
            if any(scheduled.get(name) != data[name] for name in ("plan", "effectiveMonth")):
                yield "no such change was scheduled"

    def call_faults(self, s, data):
        terms, at = s["terms"], data["occurredAt"]
        funding = "credit" if s["credit"] < terms["monthlyLimit"] else "overage"
        stops = terms["plan"] == "free" or s["hardCap"] or s.get("ended") is not None
        ended = s.get("ended") is not None and s["ended"]["paidUntil"] <= at
        key = next((k for k in s["keys"].values() if k["keyId"] == data["keyId"]), None)
        licence = s["licence"]
        identity = {
            "none": lambda: "none",
            "licence": lambda: licence["licenceArn"],
            "product": lambda: "%s/%s" % (
                licence["productCode"], licence.get("awsAccountId", licence.get("customerIdentifier", ""))),
        }[licence["kind"]]()
        bucket = data["bucketKey"].split("|")
        expected = [self.customer, identity, bucket[2] if len(bucket) == 4 else "", at[:13] + "Z"]
        for holds, fault in [
            (data["yearMonth"] == s["month"], "it is billed to another month"),
            (data["sequence"] == s["sequence"] + 1, "its number is %d, expected %d" % (data["sequence"], s["sequence"] + 1)),
            (data["plan"] == terms["plan"], "another plan held"),
            (data["overageUnitPrice"] == terms["overageUnitPrice"], "another unit price held"),
            (data["funding"] == funding, "it is not paid by " + funding),
            (data["funding"] == "credit" or not stops, "it lies past the limit while calls had to stop there"),
            (key and key.get("expiresAt", "9") > at and not s["deactivated"] and not ended, "its key was not valid"),
            (bucket == expected and bucket[2] != "", "its bucket key is not that of its customer, licence and hour"),
        ]:
            if not holds:
                yield fault

    def evolve(self, s, kind, data):
        s, terms = dict(s), {name: data[name] for name in TERMS if name in data}
        if kind == "CustomerRegistered":
            s.update(registered=True, terms=terms, hardCap=data["hardCap"], licence=data["licence"], deactivated=False)
            s.update(sequence=0, credit=0, overage=0)
        elif kind == "MonthlyCreditsGranted":
            s = {name: data.get(name) for name in ("hardCap", "keys", "licence", "scheduled", "ended", "deactivated")}
            s.update(registered=True, month=data["yearMonth"], terms=terms, sequence=0, credit=0, overage=0)
        elif kind in ("ApiKeyIssued", "ApiKeyRegenerated"):
            key = {name: data[name] for name in ("keyId", "keyHash", "prefix", "expiresAt") if name in data}
            s["keys"] = {**s["keys"], data["slot"]: {**key, "issuedAt": data["occurredAt"]}}
        elif kind == "ApiKeyDeactivated":
            s["keys"] = without(s["keys"], data["slot"])
        elif kind in ("HardCapEnabled", "HardCapDisabled"):
            s["hardCap"] = kind == "HardCapEnabled"
        elif kind in ("PlanChanged", "MonthlyLimitChanged"):
            s["terms"] = terms
        elif kind == "PlanChangeScheduled":
            s["scheduled"] = {**terms, "effectiveMonth": data["effectiveMonth"], "origin": data["origin"]}
        elif kind == "ScheduledPlanChangeCancelled":
            s["scheduled"] = None
        elif kind == "LicenceChanged":
            s["licence"] = data["licence"]
        elif kind == "SubscriptionEnded":
            s["ended"] = {name: data[name] for name in ("licence", "paidUntil", "reason")}
        elif kind == "SubscriptionResumed":
            s.update(licence=data["licence"], ended=None)
        elif kind == "CustomerDeactivated":
            s["deactivated"] = True
        elif kind == "DetectionSucceeded":
            s["sequence"] = data["sequence"]
            s[data["funding"]] += 1
        elif kind == "DetectionVoided" and data["yearMonth"] == s["month"]:
            s[data["funding"]] -= 1
        return s


def amount(tallies):
    total = Decimal(0)
    for tally in tallies:
        total = EXACT.add(total, EXACT.multiply(Decimal(tally["overageUnitPrice"]), tally["overageCalls"]))
    text = format(total, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class Statement:
    def __init__(self, customer, month):
        self.customer, self.month = customer, month
        self.terms, self.lines, self.hours, self.changes, self.own = [], {}, {}, [], []
        self.sequences, self.plan, self.cap = [], None, False

    def add(self, event):
        kind, data, metadata = event["type"], event["data"], event["metadata"]
        place = {"revision": event["revision"], "eventId": event["id"]}
        own = data["occurredAt"][:7] == self.month
        if own:
            self.own = [self.own[0] if self.own else place, place, (self.own[2] if self.own else 0) + 1, metadata["hash"]]
            if kind in ("MonthlyCreditsGranted", "PlanChanged", "MonthlyLimitChanged"):
                self.terms.append({**{name: data[name] for name in TERMS}, "since": data["occurredAt"], **place})
                self.plan, self.cap = data["plan"], data.get("hardCap", self.cap)
            elif kind in ("HardCapEnabled", "HardCapDisabled"):
                self.cap = kind == "HardCapEnabled"
        if kind == "DetectionSucceeded":
            if own:
                self.call(place, data)
            return
        void = kind == "DetectionVoided" and data["yearMonth"] == self.month
        if void:
            held = [terms for terms in self.terms if int(terms["revision"]) <= data["revision"]][-1]
            tallies = [self.lines[held["plan"], held["overageUnitPrice"]]]
            if data["funding"] == "overage":
                tallies.append(self.hours[data["bucketKey"], held["overageUnitPrice"]])
            for tally in tallies:
                tally[data["funding"] + "Calls"] -= 1
                tally["voidedCalls"] += 1
        if void or (own and kind != "DetectionReplayed"):
            self.changes.append({**place, "actor": metadata["actor"], "hash": metadata["hash"], "type": kind, "data": data})

    def call(self, place, data):
        price = data["overageUnitPrice"]
        self.sequences = [self.sequences[0] if self.sequences else data["sequence"], data["sequence"]]
        none = {"overageUnitPrice": price, "creditCalls": 0, "overageCalls": 0, "voidedCalls": 0, "first": place}
        line = self.lines.setdefault((data["plan"], price), {"plan": data["plan"], **none})
        line.update(last=place)
        line[data["funding"] + "Calls"] += 1
        if data["funding"] == "overage":
            bucket = data["bucketKey"]
            fresh = {"hour": bucket.rsplit("|", 1)[1], "bucketKey": bucket, **without(none, "creditCalls")}
            hour = self.hours.setdefault((bucket, price), fresh)
            hour.update(last=place)
            hour["overageCalls"] += 1

    def document(self):
        lines = [{**line, "amount": amount([line])} for line in self.lines.values()]
        first, last, events, digest = self.own
        document = {
            "format": "liveness-statement/1", "customerId": self.customer, "month": self.month, "terms": self.terms,
            "hardCap": self.plan == "free" or self.cap, "lines": lines, "changes": self.changes,
            "hours": [{**hour, "amount": amount([hour])} for hour in self.hours.values()],
            **{name: sum(line[name] for line in lines) for name in ("creditCalls", "overageCalls", "voidedCalls")},
            "overageAmount": amount(lines), "digest": {"first": first, "last": last, "events": events, "hash": digest},
        }
        if self.sequences:
            document["sequences"] = {"first": self.sequences[0], "last": self.sequences[1]}
        return document


class Metering:
    """The month's records. Every event of the metering stream comes before the first call."""

    def __init__(self, customer, month):
        self.customer, self.month = customer, month
        self.records, self.carried, self.adjustments, self.closed = {}, {}, [], None
        self.tallies, self.owed, self.totals = {}, {}, {"credit": 0, "overage": 0}

    def add(self, event):
        kind, data = event["type"], event["data"]
        if data["customerId"] != self.customer:
            yield "it names another customer"
        elif kind == "MonthClosed":
            if data["yearMonth"] == self.month:
                yield from self.close(data)
        elif kind == "AdjustmentNoted":
            if data["yearMonth"] == self.month:
                self.adjustments.append(data)
        elif data["recordId"].replace("|no_hour_left", "").rsplit("|", 1)[-1][:7] == self.month:
            yield from self.record(kind, data)

    def record(self, kind, data):
        name, known = data["recordId"], self.records.get(data["recordId"])
        if kind == "RecordSealed":
            if known:
                yield "%s is sealed twice" % name
                return
            state = {"due": "sealed", "no_hour_left": "unbillable"}.get(data["submission"], "not_submittable")
            self.records[name] = {"seal": data, "state": state, "attempts": 0, "unanswered": False, "doubtful": False}
            parts, late = name.split("|"), data["cause"] == "no_hour_left"
            end = parts[3:] == [data["hour"][:13] + "Z"] if not late else parts[4:] == ["no_hour_left"]
            if parts[0] != self.customer or parts[2] != data["dimension"] or not end or data["yearMonth"] != self.month:
                yield "%s: its id is not that of its customer, dimension and hour" % name
            into = sum(source["quantity"] for source in data["carriedFrom"])
            if data["quantity"] != data["ownQuantity"] + into or data["lateQuantity"] > data["ownQuantity"]:
                yield "%s: its quantities do not add up" % name
            pairs = sorted((source["recordId"], source["quantity"]) for source in data["carriedFrom"])
            if pairs != sorted(self.carried.get(name, [])):
                yield "%s: what it says was carried into it was not" % name
            return
        if not known:
            yield "%s was never sealed" % name
            return
        if known["state"] == "carried_forward":
            yield "%s: its calls were carried forward before" % name
        elif known["state"] == "accepted" and kind in ("SubmissionAttempted", "RecordAccepted", "RecordCarriedForward"):
            yield "%s: AWS has accepted it before" % name
        if kind == "SubmissionAttempted":
            if known["seal"]["submission"] != "due":
                yield "%s: it was sealed not to be sent" % name
            if data["attempt"] != known["attempts"] + 1:
                yield "%s: an attempt is missing" % name
            known.update(attempts=data["attempt"], doubtful=known["doubtful"] or known["unanswered"], unanswered=True)
        elif data.get("attempt", 0) > known["attempts"]:
            yield "%s: an answer to an attempt that was never made" % name
        if kind == "RecordCarriedForward":
            target = data["toRecordId"]
            same = target.split("|")[:3] == name.split("|")[:3] and target.split("|")[3][:7] == self.month
            if data["quantity"] != known["seal"]["quantity"] or target in self.records or not same:
                yield "%s: it cannot be carried into %s" % (name, target)
            self.carried.setdefault(target, []).append((name, data["quantity"]))
        elif kind == "SubmissionAnswered":
            known.update(unanswered=False, doubtful=known["doubtful"] or data["answer"] == "server_error")
        elif kind == "RecordAccepted":
            known.update(unanswered=False, doubtful=False)
        elif kind == "RecordRefused":
            known.update(unanswered=False)
        known["state"] = {
            "RecordAccepted": "accepted", "RecordRefused": "refused", "RecordRetried": "sealed",
            "RecordCarriedForward": "carried_forward", "RecordUnbillable": "unbillable",
            "RecordWrittenOff": "written_off",
        }.get(kind, known["state"])
        if kind in ("SubmissionAttempted", "SubmissionAnswered", "RecordRetried"):
            if known["state"] in ("sealed", "unknown"):
                known["state"] = "unknown" if known["doubtful"] or known["unanswered"] else "sealed"

    def close(self, data):
        if self.closed:
            yield "the month was closed before"
            return
        self.closed, lines, seals = data, {}, []
        for name in sorted(self.records):
            seal, state = self.records[name]["seal"], self.records[name]["state"]
            key = "%s %s" % (seal["dimension"], state)
            fresh = {"dimension": seal["dimension"], "state": state, "records": 0, "quantity": 0, "carried": 0}
            line = lines.setdefault(key, fresh)
            line["records"] += 1
            line["quantity"] += seal["ownQuantity"]
            line["carried"] += seal["quantity"] - seal["ownQuantity"]
            seals.append({field: seal[field] for field in ("recordId", "quantity", "ownQuantity", "digest")})
        if data["overage"] != [lines[key] for key in sorted(lines)]:
            yield "its overage is not that of the records"
        if data["digest"] != sha(canonical(seals)):
            yield "its digest is not that of the seals"
        if data["adjusted"] != len(self.adjustments):
            yield "it counts other adjustments than stand before it"

    def sealed_before(self, name, revision):
        return name in self.records and self.records[name]["seal"]["throughRevision"] < revision

    def record_of(self, bucket, revision):
        before, hour = bucket.rsplit("|", 1)
        day, number = int(hour[8:10]), int(hour[11:13])
        lengths = [31, 29 if is_leap(int(hour[:4])) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        if not (self.closed and self.closed["throughRevision"] < revision):
            for at in range((day - 1) * 24 + number, lengths[int(hour[5:7]) - 1] * 24):
                name = "%s|%s-%02dT%02dZ" % (before, hour[:7], at // 24 + 1, at % 24)
                if not self.sealed_before(name, revision):
                    return name
        number = 1
        while True:
            name = "%s|%s%s|no_hour_left" % (before, self.month, "" if number == 1 else ".%d" % number)
            if not self.sealed_before(name, revision):
                return name
            number += 1

    def call(self, event):
        """A call of the month or the void of one."""
        data, revision, void = event["data"], int(event["revision"]), event["type"] == "DetectionVoided"
        if self.closed and revision <= self.closed["throughRevision"]:
            self.totals[data["funding"]] += -1 if void else 1
        if data["funding"] == "credit":
            return
        name = self.record_of(data["bucketKey"], data["revision"] if void else revision)
        if void and self.sealed_before(name, revision):
            self.owed[revision] = (name, data["detectionId"])
            return
        tally = self.tallies.setdefault(name, {"own": 0, "late": 0, "digest": "0" * 64, "since": revision})
        tally["own"] += -1 if void else 1
        tally["late"] += 0 if name == data["bucketKey"] else -1 if void else 1
        tally["digest"] = sha((tally["digest"] + event["metadata"]["hash"]).encode())

    def faults(self, last):
        for name, record in self.records.items():
            seal, tally = record["seal"], self.tallies.get(name, {"own": 0, "late": 0, "digest": "0" * 64})
            if seal["throughRevision"] > last:
                yield "record %s is sealed through a revision behind the bundle" % name
            elif (seal["ownQuantity"], seal["lateQuantity"]) != (tally["own"], tally["late"]):
                yield "record %s holds %d calls, the customer's stream %d" % (name, seal["ownQuantity"], tally["own"])
            elif seal["digest"] != tally["digest"]:
                yield "record %s: its digest is not that of its calls" % name
        noted = [adjustment["revision"] for adjustment in self.adjustments]
        if len(noted) > len(set(noted)):
            yield "a void is adjusted twice"
        for a in self.adjustments:
            if self.owed.get(a["revision"]) != (a["recordId"], a["detectionId"]):
                yield "the adjustment of the void at revision %d answers to no such void" % a["revision"]
        if not self.closed:
            return
        through = self.closed["throughRevision"]
        for revision in self.owed:
            if revision <= through and revision not in noted:
                yield "the void at revision %d was never adjusted" % revision
        if (self.closed["creditCalls"], self.closed["overageCalls"]) != (self.totals["credit"], self.totals["overage"]):
            yield "the month is closed with other totals than the stream has"
        for name, tally in self.tallies.items():
            if name not in self.records and tally["since"] <= through:
                yield "the month is closed, and the calls of %s are in no sealed record" % name


def is_leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def check_manifest(line, customer, month, tallies, key, say):
    manifest = line["manifest"]
    fault = key.fault(manifest, line["signature"])
    if fault:
        say("the manifest", fault)
    if [manifest["format"], manifest["customerId"], manifest["month"]] != ["liveness-bundle/1", customer, month]:
        say("the manifest", "it is of another format, customer or month")
    found = [{"part": p, "lines": n, "bytes": size, "sha256": digest.hexdigest()} for p, n, size, digest in tallies]
    for part, expected in zip(PARTS, found):
        if [signed for signed in manifest["parts"] if signed["part"] == part] != [expected]:
            say("the manifest", 'part "%s" is not what was signed' % part)
    if [signed["part"] for signed in manifest["parts"]] != PARTS:
        say("the manifest", "it does not list the parts")


def verify(path, key, kept, differences):
    say = lambda where, fault: differences.append("%s: %s" % (where, fault))
    tallies = [[part, 0, 0, hashlib.sha256()] for part in PARTS]
    first = chains = customer = metering = statement = manifest = found = None
    stage = 0
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            line = whole(json.loads(raw))
            if canonical(line) + b"\n" != raw:
                say("line %d" % number, "it is not in canonical form")
            part = line["part"]
            if manifest is not None:
                say("line %d" % number, "it stands behind the manifest")
            if part == "manifest":
                manifest = line
                continue
            place = PARTS.index(part)
            if place < stage or (number == 1) != (part == "anchors"):
                say("line %d" % number, "it is out of order")
            stage = max(stage, place)
            tallies[place] = [part, tallies[place][1] + 1, tallies[place][2] + len(raw), tallies[place][3]]
            tallies[place][3].update(raw)
            if part == "anchors":
                first = line
                names = ["customer-" + line["customerId"], "metering-" + line["customerId"]]
                heads = {side: point_heads(line.get(side)) for side in ("before", "after")}
                chains = {p: Chain(names[i], heads["before"][i], heads["after"][i], kept, say)
                          for i, p in ((0, "event"), (1, "metering"))}
                start = heads["before"][0][0] + 1
                customer = Customer(line["customerId"], start == 0, start)
                metering, statement = Metering(line["customerId"], line["month"]), Statement(line["customerId"], line["month"])
                for side in ("before", "after"):
                    for fault in point_faults(line[side], *names, key) if side in line else ():
                        say("the anchor " + side, fault)
                if "before" in line and commit_of(line["before"]) >= commit_of(line["after"]):
                    say("the anchors", "the one before is not older than the one after")
                ends = chains["event"]
                reach = [a["heads"][names[0]][0] for a in kept if names[0] in a["heads"]]
                if kept and not any(ends.start[0] <= revision <= ends.end[0] for revision in reach):
                    say("the anchors given", "none of them has its head of this customer within the bundle")
            elif part == "statement":
                found = line["statement"]
            else:
                event = line["event"]
                where = "%s revision %s (%s, %s)" % (event["stream"], event["revision"], event["type"], event["id"])
                chains[part].add(event, where)
                for fault in (customer if part == "event" else metering).add(event):
                    say(where, fault)
                if part == "event":
                    month, kind = first["month"], event["type"]
                    of_month = kind in ("DetectionSucceeded", "DetectionVoided") and event["data"]["yearMonth"] == month
                    if of_month:
                        metering.call(event)
                    if of_month or event["data"]["occurredAt"][:7] == month:
                        statement.add(event)
    for chain in chains.values():
        chain.close()
    for fault in metering.faults(chains["event"].head[0]):
        say(metering.customer, fault)
    if tallies[3][1] != 1 or found != statement.document():
        say("the statement", "it is not what the events say")
    if manifest is None:
        say("the file", "it has no manifest: it was cut off")
    else:
        check_manifest(manifest, first["customerId"], first["month"], tallies, key, say)


def commit_of(point):
    return int(point["anchor"]["position"]["commit"])


def point_heads(point):
    if not point:
        return [(-1, ""), (-1, "")]
    return [(int(revision), digest) for _, revision, digest in (point[name]["head"] for name in ("customer", "metering"))]


def main(arguments):
    given = {"--key": [], "--anchor": [], "": []}
    while arguments:
        option = arguments.pop(0) if arguments[0] in given else ""
        given[option].append(arguments.pop(0))
    key, anchors, bundles = Keys(given["--key"]), given["--anchor"], given[""]
    kept = [load_anchor(path, key) for path in anchors]
    wrong = 0
    for path in bundles:
        differences = []
        try:
            verify(path, key, kept, differences)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            differences.append("the file cannot be read any further: %r" % error)
        print(path, "agrees" if not differences else "DIFFERS")
        for difference in differences:
            print("  " + difference)
        wrong += bool(differences)
    return 1 if wrong or not bundles else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
