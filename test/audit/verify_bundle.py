"""Verifies bundles of `liveness audit export` as docs/audit.md says; headings below are those of the page.

Usage: verify_bundle.py --key PEM... [--anchor FILE]... BUNDLE...
Prints what differs in each bundle under its name; exit code 0 only where nothing does.
Needs Python 3.9 and `cryptography` (for Ed25519 alone). Memory does not grow with the number of calls.
"""
import base64
import calendar
import hashlib
import json
import sys
from decimal import Context, Decimal
from functools import reduce

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

PARTS = ["anchors", "metering", "event", "statement"]
TERMS = ["plan", "monthlyLimit", "monthlyFee", "overageUnitPrice"]
OPENER = TERMS + ["hardCap", "keys", "licence", "scheduled", "ended", "deactivated"]
# What an event copies into the state, and what it sets there.
COPIED = {"CustomerRegistered": TERMS + ["hardCap", "licence"], "MonthlyCreditsGranted": OPENER, "PlanChanged": TERMS,
          "MonthlyLimitChanged": TERMS, "LicenceChanged": ["licence"], "SubscriptionResumed": ["licence"],
          "DetectionSucceeded": ["sequence"]}
SET = {"HardCapEnabled": {"hardCap": True}, "HardCapDisabled": {"hardCap": False}, "CustomerDeactivated": {"deactivated": True}}
TYPES = {
    "event": "ApiKeyDeactivated ApiKeyIssued ApiKeyRegenerated AttemptFenced CustomerDeactivated DetectionReplayed "
             "DetectionVoided LicenceChangeScheduled PlanChangeScheduled ScheduledPlanChangeCancelled SubscriptionEnded".split()
             + [*COPIED, *SET],
    "metering": "AdjustmentNoted MonthClosed RecordAccepted RecordCarriedForward RecordRefused RecordRetried RecordSealed "
                "RecordUnbillable RecordWrittenOff SubmissionAnswered SubmissionAttempted".split(),
}
LONGEST = 32 << 20  # bytes of a line
EXACT = Context(prec=200)
sha = lambda data: hashlib.sha256(data).hexdigest()
pick = lambda value, names: {name: value[name] for name in names if name in value}
without = lambda value, *names: {name: inner for name, inner in value.items() if name not in names}


# Words

def canonical(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")

def no_fraction(text):
    raise ValueError("a fraction: " + text)

def read_json(raw):
    if b"null" in raw and has_null(json.loads(raw)):
        raise ValueError("null has no place here")
    return json.loads(raw, parse_float=no_fraction, parse_constant=no_fraction)

def has_null(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(has_null(one) for one in inner)

def load_keys(paths):
    keys = [load_pem_public_key(open(path, "rb").read()) for path in paths]
    return {sha(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)): key for key in keys}

def signature_faults(value, signature, keys):
    if value["key"] not in keys:
        return ["it is signed with another key"]
    try:
        keys[value["key"]].verify(base64.b64decode(signature), canonical(value))
    except InvalidSignature:
        return ["its signature is wrong"]
    return []


# Anchors: the tree of RFC 9162

leaf = lambda head: hashlib.sha256(b"\x00" + canonical(head)).digest()
node = lambda left, right: hashlib.sha256(b"\x01" + left + right).digest()

def root_of(level):
    while len(level) > 1:  # a lone last node moves up as it is
        level = [node(*level[i:i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    return level[0].hex()

def root_by_proof(head, index, size, proof):  # RFC 9162, 2.1.3.2
    fn, sn, r = index, size - 1, leaf(head)
    for sibling in map(bytes.fromhex, proof):
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node(sibling, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, sibling)
        fn, sn = fn >> 1, sn >> 1
    return r.hex() if sn == 0 and 0 <= index < size else None

def load_anchor(path, keys):
    anchor = read_json(open(path, "rb").read())
    heads, signed = anchor["heads"], without(anchor, "signature", "heads")
    names = [head[0] for head in heads]
    if (signature_faults(signed, anchor["signature"], keys) or signed["streams"] != len(heads)
            or names != sorted(set(names)) or root_of([leaf(head) for head in heads]) != signed["root"]):
        sys.exit("the anchor %s cannot be trusted" % path)
    return anchor["through"], {name: (int(revision), digest) for name, revision, digest in heads}

def point_faults(point, streams, keys):
    anchor = point["anchor"]
    yield from signature_faults(without(anchor, "signature"), anchor["signature"], keys)
    for side, stream in streams.items():
        head, index, proof = (point[side][name] for name in ("head", "index", "proof"))
        if head[0] != stream:
            yield "it proves the head of %s, not that of %s" % (head[0], stream)
        if root_by_proof(head, index, anchor["streams"], proof) != anchor["root"]:
            yield "the head of %s does not lead to its root" % head[0]


class Chain:
    """Events and their chain: one stream between two heads, and what kept anchors say of it."""

    def __init__(self, stream, before, after, kept):
        head = lambda point: (int(point["head"][1]), point["head"][2]) if point else (-1, "")
        self.stream, self.start, self.head, self.end = stream, head(before), head(before), head(after)
        self.kept = [(through, *heads[stream]) for through, heads in kept if stream in heads]

    def add(self, event):
        meta, revision = event["metadata"], int(event["revision"])
        for wrong, fault in [
            (event["stream"] != self.stream, "it is not of the stream " + self.stream),
            (revision != self.head[0] + 1, "expected revision %d" % (self.head[0] + 1)),
            (meta.get("prevHash") != self.head[1], "its prevHash is not the hash of the event before it"),
            (meta.get("hash") != sha(canonical({**event, "metadata": without(meta, "hash")})),
             "its hash is not that of its content"),
        ]:
            if wrong:
                yield fault
        self.head = (revision, meta.get("hash"))
        yield from self.against_kept(self.head, "it is not the event anchored at ")

    def against_kept(self, head, fault):
        return [fault + through for through, at, digest in self.kept if at == head[0] and digest != head[1]]

    def close(self):
        yield from self.against_kept(self.start, "it begins behind another event than was anchored at ")
        if self.head != self.end:
            yield "it ends at revision %d, the anchor after has %d" % (self.head[0], self.end[0])


class Customer:
    """Rules of a customer's stream. `s` is the state, None until it is known; `calls` those that voids will name."""

    def __init__(self, customer, first, calls):
        self.customer, self.first, self.calls, self.time, self.settled = customer, first, calls, "", set()
        self.s = {"month": "", "keys": {}} if first == 0 else None

    def add(self, event):
        kind, data, s = event["type"], event["data"], self.s
        holds = [(data["customerId"] == self.customer, "it names another customer"),
                 (data["occurredAt"] >= self.time, "its time lies before that of the event before it")]
        self.time = data["occurredAt"]
        if kind in ("DetectionReplayed", "DetectionVoided"):
            holds.append((data["detectionId"] not in self.settled, "its call was voided or replayed before"))
            self.settled.add(data["detectionId"])
        target = ("detectionId", "yearMonth", "funding", "bucketKey")
        if kind == "DetectionVoided" and data["revision"] >= self.first:
            call = self.calls.get(data["revision"])
            holds.append((call == pick(data, target), "no such call stands at revision %d" % data["revision"]))
        if kind == "DetectionSucceeded" and int(event["revision"]) in self.calls:
            self.calls[int(event["revision"])] = pick(data, target)
        if s is not None:
            holds += self.rules(s, kind, data)
        if s is not None or kind == "MonthlyCreditsGranted":
            self.s = self.evolve(s or {}, kind, data)
        return [fault for right, fault in holds if not right]

    def rules(self, s, kind, data):
        at, scheduled = data["occurredAt"], s.get("scheduled")
        if (kind == "CustomerRegistered") == ("plan" in s):
            return [(False, "a registration stands at the beginning of the stream, and only there")]
        if kind == "CustomerRegistered":
            return []
        if kind == "MonthlyCreditsGranted":
            expected = pick(s, OPENER)
            if scheduled and scheduled["effectiveMonth"] <= data["yearMonth"]:
                expected = {**without(expected, "scheduled"), **pick(scheduled, TERMS)}
            found = without(data, "customerId", "occurredAt", "yearMonth")
            return [(s["month"] < data["yearMonth"] == at[:7], "it does not open the month of its time")] + [
                (expected.get(name) == found.get(name), "its %s is not what held before it" % name)
                for name in sorted({*expected, *found})]
        slot = s["keys"].get(data.get("slot"), {}).get("keyId")
        rules = {
            "ApiKeyIssued": lambda: (slot is None, "its slot holds a key already"),
            "ApiKeyRegenerated": lambda: (slot == data["replacedKeyId"], "it replaces a key that was not there"),
            "ApiKeyDeactivated": lambda: (slot == data["keyId"], "it deactivates a key that was not there"),
            "PlanChanged": lambda: (data["from"] == s["plan"], "it changes another plan than held"),
            "MonthlyLimitChanged": lambda: ((data["from"], data["plan"]) == (s["monthlyLimit"], s["plan"]),
                                            "it changes another limit than held"),
            "ScheduledPlanChangeCancelled": lambda: (
                scheduled is not None and pick(scheduled, ["plan", "effectiveMonth"]) == pick(data, ["plan", "effectiveMonth"]),
                "no such change was scheduled"),
        }
        month = (at[:7] == s["month"], "it is the first event of its month, and not that month's opener")
        return [month] + ([rules[kind]()] if kind in rules else self.call(s, data) if kind == "DetectionSucceeded" else [])

    def call(self, s, data):
        at, licence, ended = data["occurredAt"], s["licence"], s.get("ended")
        funding = "credit" if s["credit"] < s["monthlyLimit"] else "overage"
        key = next((key for key in s["keys"].values() if key["keyId"] == data["keyId"]), None)
        stops = s["plan"] == "free" or s["hardCap"] or ended is not None
        over = s["deactivated"] or ended is not None and ended["paidUntil"] <= at
        product = lambda: licence["productCode"] + "/" + licence.get("awsAccountId", licence.get("customerIdentifier", ""))
        identity = "none" if licence["kind"] == "none" else licence.get("licenceArn") or product()
        dimension = (data["bucketKey"].split("|") + ["", ""])[2]
        bucket = "|".join([self.customer, identity, dimension, at[:13] + "Z"])
        return [
            (data["yearMonth"] == s["month"], "it is billed to another month"),
            (data["sequence"] == s["sequence"] + 1, "its number is %d, expected %d" % (data["sequence"], s["sequence"] + 1)),
            (data["plan"] == s["plan"], "another plan held"),
            (data["overageUnitPrice"] == s["overageUnitPrice"], "another unit price held"),
            (data["funding"] == funding, "it is not paid by " + funding),
            (data["funding"] == "credit" or not stops, "it lies past the limit while calls had to stop there"),
            (key and key.get("expiresAt", "9") > at and not over, "its key was not valid"),
            (data["bucketKey"] == bucket and dimension, "its bucket key is not that of its customer, licence and hour"),
        ]

    def evolve(self, s, kind, data):
        if kind in ("CustomerRegistered", "MonthlyCreditsGranted"):
            s = {"keys": {}, "deactivated": False, "sequence": 0, "credit": 0, "overage": 0, "month": data.get("yearMonth", "")}
        s = {**s, **pick(data, COPIED.get(kind, [])), **SET.get(kind, {})}
        if kind == "DetectionSucceeded":
            s[data["funding"]] += 1
        elif kind == "DetectionVoided" and data["yearMonth"] == s["month"]:
            s[data["funding"]] -= 1
        elif kind in ("ApiKeyIssued", "ApiKeyRegenerated"):
            key = {**pick(data, ["keyId", "keyHash", "prefix", "expiresAt"]), "issuedAt": data["occurredAt"]}
            s["keys"] = {**s["keys"], data["slot"]: key}
        elif kind == "ApiKeyDeactivated":
            s["keys"] = without(s["keys"], data["slot"])
        elif kind == "PlanChangeScheduled":
            s["scheduled"] = pick(data, [*TERMS, "effectiveMonth", "origin"])
        elif kind == "SubscriptionEnded":
            s["ended"] = pick(data, ["licence", "paidUntil", "reason"])
        return without(s, {"ScheduledPlanChangeCancelled": "scheduled", "SubscriptionResumed": "ended"}.get(kind))


class Statement:
    def __init__(self, customer, month):
        self.customer, self.month, self.own, self.plan, self.cap = customer, month, [], None, False
        self.terms, self.lines, self.hours, self.changes, self.sequences = [], {}, {}, [], {}

    def add(self, event):
        kind, data, meta = event["type"], event["data"], event["metadata"]
        place, own = {"revision": event["revision"], "eventId": event["id"]}, data["occurredAt"][:7] == self.month
        void = kind == "DetectionVoided" and data["yearMonth"] == self.month
        if own:
            first, _, count, _ = self.own or (place, place, 0, "")
            self.own = (first, place, count + 1, meta["hash"])
            self.cap = {"HardCapEnabled": True, "HardCapDisabled": False}.get(kind, data.get("hardCap", self.cap))
            if kind in ("MonthlyCreditsGranted", "PlanChanged", "MonthlyLimitChanged"):
                self.terms.append({**pick(data, TERMS), "since": data["occurredAt"], **place})
                self.plan = data["plan"]
        if own and kind == "DetectionSucceeded":
            self.sequences = {"first": self.sequences.get("first", data["sequence"]), "last": data["sequence"]}
            for tally in self.tallies(data, data["plan"], data["overageUnitPrice"], place):
                tally[data["funding"] + "Calls"] += 1
                tally["last"] = place
        if void:
            held = [terms for terms in self.terms if int(terms["revision"]) <= data["revision"]][-1]
            for tally in self.tallies(data, held["plan"], held["overageUnitPrice"], None):
                tally[data["funding"] + "Calls"] -= 1
                tally["voidedCalls"] += 1
        if void or own and kind not in ("DetectionSucceeded", "DetectionReplayed"):
            self.changes.append({**place, **pick(meta, ["actor", "hash"]), "type": kind, "data": data})

    def tallies(self, data, plan, price, place):
        none = {"overageUnitPrice": price, "overageCalls": 0, "voidedCalls": 0, "first": place}
        yield self.lines.setdefault((plan, price), {**none, "plan": plan, "creditCalls": 0})
        bucket = data["bucketKey"]
        if data["funding"] == "overage":
            yield self.hours.setdefault((bucket, price), {**none, "bucketKey": bucket, "hour": bucket.rsplit("|", 1)[1]})

    def document(self):
        amount = lambda tally: EXACT.multiply(Decimal(tally["overageUnitPrice"]), tally["overageCalls"])
        plain = lambda exact: (lambda text: text.rstrip("0").rstrip(".") if "." in text else text)(format(exact, "f"))
        first, last, count, digest = self.own
        return {
            "format": "liveness-statement/1", "customerId": self.customer, "month": self.month, "terms": self.terms,
            "hardCap": self.plan == "free" or self.cap, "changes": self.changes,
            "lines": [{**line, "amount": plain(amount(line))} for line in self.lines.values()],
            "hours": [{**hour, "amount": plain(amount(hour))} for hour in self.hours.values()],
            **{name: sum(line[name] for line in self.lines.values()) for name in ("creditCalls", "overageCalls", "voidedCalls")},
            "overageAmount": plain(reduce(EXACT.add, map(amount, self.lines.values()), Decimal(0))),
            "digest": {"first": first, "last": last, "events": count, "hash": digest},
            **({"sequences": self.sequences} if self.sequences else {}),
        }


class Metering:
    """Rules of the metering stream, all of which stands before the first call."""

    def __init__(self, customer, month):
        self.customer, self.month, self.closed, self.totals = customer, month, None, {"credit": 0, "overage": 0}
        self.records, self.carried, self.adjustments, self.tallies, self.owed = {}, {}, [], {}, {}

    def add(self, event):
        kind, data = event["type"], event["data"]
        if data["customerId"] != self.customer:
            yield "it names another customer"
        elif kind == "MonthClosed":
            yield from self.close(data) if data["yearMonth"] == self.month else ()
        elif kind == "AdjustmentNoted":
            self.adjustments += [data] if data["yearMonth"] == self.month else []
        elif data["recordId"].split("|")[3][:7] == self.month:
            yield from [data["recordId"] + ": " + fault for right, fault in self.record(kind, data) if not right]

    def record(self, kind, data):
        name, known = data["recordId"], self.records.get(data["recordId"])
        if kind == "RecordSealed":
            parts = name.split("|")
            end = [data["hour"][:13] + "Z"] if data["cause"] != "no_hour_left" else [parts[3], "no_hour_left"]
            sources = [(source["recordId"], source["quantity"]) for source in data["carriedFrom"]]
            state = {"due": "sealed", "no_hour_left": "unbillable"}.get(data["submission"], "not_submittable")
            self.records.setdefault(name, {"seal": data, "state": state, "attempts": 0, "unanswered": False, "doubtful": False})
            return [
                (known is None, "it is sealed twice"),
                ([parts[0], parts[2], *parts[3:]] == [self.customer, data["dimension"], *end] and data["yearMonth"] == self.month,
                 "its id is not that of its customer, dimension and hour"),
                (data["quantity"] == data["ownQuantity"] + sum(quantity for _, quantity in sources)
                 and data["lateQuantity"] <= data["ownQuantity"], "its quantities do not add up"),
                (sorted(sources) == sorted(self.carried.get(name, [])), "what it says was carried into it was not"),
            ]
        if known is None:
            return [(False, "it was never sealed")]
        state, attempt, seal = known["state"], data.get("attempt", 0), known["seal"]
        holds = [(state != "carried_forward", "its calls were carried forward before"),
                 (state != "accepted" or kind not in ("SubmissionAttempted", "RecordAccepted", "RecordCarriedForward"),
                  "AWS has accepted it before")]
        if kind == "SubmissionAttempted":
            holds += [(seal["submission"] == "due", "it was sealed not to be sent"),
                      (attempt == known["attempts"] + 1, "an attempt is missing")]
            known.update(attempts=attempt, doubtful=known["doubtful"] or known["unanswered"], unanswered=True)
        else:
            holds.append((attempt <= known["attempts"], "an answer to an attempt that was never made"))
        if kind == "RecordCarriedForward":
            target = data["toRecordId"]
            same = [p.split("|")[:3] + [p.split("|")[3][:7]] for p in (target, name)]
            holds.append((same[0] == same[1] and data["quantity"] == seal["quantity"] and target not in self.records,
                          "it cannot be carried into " + target))
            self.carried.setdefault(target, []).append((name, data["quantity"]))
        if kind in ("SubmissionAnswered", "RecordAccepted", "RecordRefused"):
            known["unanswered"] = False
            known["doubtful"] = kind != "RecordAccepted" and (known["doubtful"] or data.get("answer") == "server_error")
        state = {"RecordAccepted": "accepted", "RecordRefused": "refused", "RecordRetried": "sealed",
                 "RecordCarriedForward": "carried_forward", "RecordUnbillable": "unbillable",
                 "RecordWrittenOff": "written_off"}.get(kind, state)
        if kind in ("SubmissionAttempted", "SubmissionAnswered", "RecordRetried") and state in ("sealed", "unknown"):
            state = "unknown" if known["doubtful"] or known["unanswered"] else "sealed"
        known["state"] = state
        return holds

    def close(self, data):
        if self.closed:
            return ["the month was closed before"]
        self.closed, lines, seals = data, {}, []
        for name in sorted(self.records):
            seal, state = self.records[name]["seal"], self.records[name]["state"]
            fresh = {"dimension": seal["dimension"], "state": state, "records": 0, "quantity": 0, "carried": 0}
            line = lines.setdefault("%s %s" % (seal["dimension"], state), fresh)
            for field, by in ("records", 1), ("quantity", seal["ownQuantity"]), ("carried", seal["quantity"] - seal["ownQuantity"]):
                line[field] += by
            seals.append(pick(seal, ["recordId", "quantity", "ownQuantity", "digest"]))
        found = {"overage": [lines[key] for key in sorted(lines)], "digest": sha(canonical(seals)), "adjusted": len(self.adjustments)}
        return ["its %s is not that of the records" % name for name in found if data[name] != found[name]]

    def sealed_before(self, name, revision):
        return name in self.records and self.records[name]["seal"]["throughRevision"] < revision

    def record_of(self, bucket, revision):
        """The first record that can take the call."""
        licence, hour = bucket.rsplit("|", 1)
        days = calendar.monthrange(int(hour[:4]), int(hour[5:7]))[1]
        if not (self.closed and self.closed["throughRevision"] < revision):
            for at in range(int(hour[8:10]) * 24 - 24 + int(hour[11:13]), days * 24):
                name = "%s|%s-%02dT%02dZ" % (licence, hour[:7], at // 24 + 1, at % 24)
                if not self.sealed_before(name, revision):
                    return name
        number = 1
        while self.sealed_before(name := "%s|%s%s|no_hour_left" % (licence, self.month, ".%d" % number if number > 1 else ""), revision):
            number += 1
        return name

    def call(self, event):
        """A call of the month, or the void of one."""
        data, revision, void = event["data"], int(event["revision"]), event["type"] == "DetectionVoided"
        by = -1 if void else 1
        if self.closed and revision <= self.closed["throughRevision"]:
            self.totals[data["funding"]] += by
        if data["funding"] == "credit":
            return
        name = self.record_of(data["bucketKey"], data["revision"] if void else revision)
        if void and self.sealed_before(name, revision):
            self.owed[revision] = (name, data["detectionId"])
            return
        tally = self.tallies.setdefault(name, {"own": 0, "late": 0, "digest": "0" * 64, "since": revision})
        tally["own"] += by
        tally["late"] += by * (name != data["bucketKey"])
        tally["digest"] = sha((tally["digest"] + event["metadata"]["hash"]).encode())

    def end(self, last):
        for name, seal in [(name, record["seal"]) for name, record in self.records.items()]:
            tally = self.tallies.get(name, {"own": 0, "late": 0, "digest": "0" * 64})
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
        through = self.closed["throughRevision"] if self.closed else -1
        for revision in self.owed:
            if revision <= through and revision not in noted:
                yield "the void at revision %d was never adjusted" % revision
        for name, tally in self.tallies.items():
            if name not in self.records and tally["since"] <= through:
                yield "the month is closed, and the calls of %s are in no sealed record" % name
        if self.closed and [self.closed[name + "Calls"] for name in self.totals] != list(self.totals.values()):
            yield "the month is closed with other totals than the stream has"


def manifest_faults(line, found, first, keys):
    manifest = line["manifest"]
    yield from signature_faults(manifest, line["signature"], keys)
    if [manifest["format"], manifest["customerId"], manifest["month"]] != ["liveness-bundle/1", first["customerId"], first["month"]]:
        yield "it is of another format, customer or month"
    for signed, part in zip(manifest["parts"], found):
        if signed != part:
            yield 'part "%s" is not what was signed' % part["part"]
    if len(manifest["parts"]) != len(found):
        yield "it does not list the parts"


def lines_of(path):
    with open(path, "rb") as file:
        while raw := file.readline(LONGEST):
            if len(raw) == LONGEST:
                raise ValueError("a line of %d bytes or more" % LONGEST)
            yield raw


def verify(path, keys, kept, say):
    # Read twice, so that of the calls only those need be remembered that are voided.
    voids = (read_json(raw)["event"] for raw in lines_of(path) if raw.startswith(b'{"event":') and b'"DetectionVoided"' in raw)
    calls = {void["data"]["revision"]: None for void in voids if void["type"] == "DetectionVoided"}
    tallies = {part: [0, 0, hashlib.sha256()] for part in PARTS}
    first = manifest = found = None
    stage = 0
    for number, raw in enumerate(lines_of(path), 1):
        line, where = read_json(raw), "line %d" % number
        part = line["part"]
        if canonical(line) + b"\n" != raw:
            say(where, "it is not in canonical form")
        if manifest is not None:
            say(where, "it stands behind the manifest")
        if part == "manifest":
            manifest = line
            continue
        if PARTS.index(part) < stage or (number == 1) != (part == "anchors"):
            say(where, "it is out of order")
        stage = max(stage, PARTS.index(part))
        tallies[part][0] += 1
        tallies[part][1] += len(raw)
        tallies[part][2].update(raw)
        if part == "anchors":
            first, before, after = line, line.get("before", {}), line["after"]
            streams = {"customer": "customer-" + line["customerId"], "metering": "metering-" + line["customerId"]}
            chains = {side: Chain(stream, before.get(side), after[side], kept) for side, stream in streams.items()}
            start, month = chains["customer"].start[0] + 1, line["month"]
            customer, metering = Customer(line["customerId"], start, calls), Metering(line["customerId"], month)
            statement = Statement(line["customerId"], month)
            for side in ("before", "after"):
                for fault in point_faults(line[side], streams, keys) if side in line else ():
                    say("the anchor " + side, fault)
            if before and int(before["anchor"]["position"]["commit"]) >= int(after["anchor"]["position"]["commit"]):
                say("the anchors", "the one before is not older than the one after")
            reach = [at for _, at, _ in chains["customer"].kept if start - 1 <= at <= chains["customer"].end[0]]
            if kept and not reach:
                say("the anchors given", "none of them has its head of this customer within the bundle")
        elif part == "statement":
            found = line["statement"]
        else:
            event = line["event"]
            kind, data = event["type"], event["data"]
            if kind not in TYPES[part]:
                say(where, "there is no event of type " + kind)
            for check in (chains["customer"], customer) if part == "event" else (chains["metering"], metering):
                for fault in check.add(event):
                    say("%s revision %s (%s, %s)" % (event["stream"], event["revision"], kind, event["id"]), fault)
            if part == "event":
                of_month = kind in ("DetectionSucceeded", "DetectionVoided") and data["yearMonth"] == month
                if of_month:
                    metering.call(event)
                if of_month or data["occurredAt"][:7] == month:
                    statement.add(event)
    for chain in chains.values():
        for fault in chain.close():
            say(chain.stream, fault)
    for fault in metering.end(chains["customer"].head[0]):
        say(streams["metering"], fault)
    if tallies["statement"][0] != 1 or found != statement.document():
        say("the statement", "it is not what the events say")
    if manifest is None:
        say("the file", "it has no manifest: it was cut off")
        return
    parts = [{"part": part, "lines": n, "bytes": size, "sha256": digest.hexdigest()} for part, (n, size, digest) in tallies.items()]
    for fault in manifest_faults(manifest, parts, first, keys):
        say("the manifest", fault)


def main(arguments):
    given = {"--key": [], "--anchor": [], "": []}
    while arguments:
        option = arguments.pop(0) if arguments[0] in given else ""
        given[option].append(arguments.pop(0))
    keys = load_keys(given["--key"])
    kept = [load_anchor(path, keys) for path in given["--anchor"]]
    agreeing = 0
    for path in given[""]:
        differences = []
        try:
            verify(path, keys, kept, lambda where, fault: differences.append("%s: %s" % (where, fault)))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            differences.append("the file cannot be read any further: %r" % error)
        print("\n  ".join([path + (" DIFFERS" if differences else " agrees"), *differences]))
        agreeing += not differences
    return 0 if agreeing == len(given[""]) > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
