"""Verifies bundles of `liveness audit export`. Written from docs/audit.md alone; the headings are those of the page.

Usage: verify_bundle.py --key PEM... [--anchor FILE]... BUNDLE...
Prints under each bundle's name what differs; exit code 0 only where nothing does.

It judges all that decides a bill: the file, its signatures and proofs, both chains, by which terms and credits every
call was counted, the statement, and which calls the sealed records hold. Whether a change names rightly what it
replaces and when it may take effect, and what AWS answered, it leaves to `liveness audit verify-bundle`.

Needs Python 3.9 and `cryptography`, for Ed25519 alone. Memory does not grow with the number of calls.
"""
import base64
import hashlib
import json
import sys
from collections import Counter
from datetime import datetime, timedelta
from decimal import Context, Decimal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

PARTS = ["anchors", "metering", "event", "statement", "manifest"]
TERMS = ["plan", "monthlyLimit", "monthlyFee", "overageUnitPrice"]
OPENER = [*TERMS, "hardCap", "keys", "licence", "scheduled", "ended", "deactivated"]
LONGEST = 32 << 20


# Words

def sha(data):
    return hashlib.sha256(data).hexdigest()

def canonical(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")

def pick(value, names):
    return {name: value[name] for name in names if name in value}

def without(value, *names):
    return {name: inner for name, inner in value.items() if name not in names}

def check_signature(expect, value, signature, keys):
    try:
        keys[value["key"]].verify(base64.b64decode(signature), canonical(value))
    except (KeyError, InvalidSignature) as error:
        expect(False, "it is signed with another key" if isinstance(error, KeyError) else "its signature is wrong")


# Anchors, events and their chain

def root_by_proof(head, index, size, proof):
    """RFC 9162, 2.1.3.2, with its names."""
    fn, sn, r = index, size - 1, hashlib.sha256(b"\x00" + canonical(head)).digest()
    for p in map(bytes.fromhex, proof):
        is_right = fn & 1 or fn == sn
        r = hashlib.sha256(b"\x01" + (p + r if is_right else r + p)).digest()
        while is_right and fn and not fn & 1:
            fn, sn = fn >> 1, sn >> 1
        fn, sn = fn >> 1, sn >> 1
    return r.hex() if fn == sn == 0 <= index < size else None

def check_point(expect, point, streams, keys):
    anchor = point["anchor"]
    check_signature(expect, without(anchor, "signature"), anchor["signature"], keys)
    for side, stream in streams.items():
        head, index, proof = point[side]["head"], point[side]["index"], point[side]["proof"]
        root = root_by_proof(head, index, anchor["streams"], proof)
        expect(head[0] == stream, f"it proves the head of {head[0]}, not that of {stream}")
        expect(root == anchor["root"], f"the head of {stream} does not lead to its root")

def check_order(expect, name, through, revision, stream, kept):
    """Of two anchors of one log the later one knows no fewer events."""
    for time, heads in kept:
        known, _ = heads.get(stream, (-1, ""))
        in_order = (time > through or known <= revision) and (time < through or known >= revision)
        given = f"the one given, of {time}, at {known}"
        expect(in_order, f"the anchor {name}, of {through}, has it at revision {revision}, and {given}")

class Chain:
    """One stream between two anchored heads, and what kept anchors say of it."""

    def __init__(self, stream, before, after, kept):
        self.stream = stream
        self.start = self.head = (int(before["head"][1]), before["head"][2]) if before else (-1, "")
        self.end = (int(after["head"][1]), after["head"][2])
        self.kept = [heads[stream] for _, heads in kept if stream in heads]

    def add(self, expect, event):
        metadata, (revision, digest) = event["metadata"], self.head
        self.head = (int(event["revision"]), metadata["hash"])
        content = sha(canonical({**event, "metadata": without(metadata, "hash")}))
        expect(event["stream"] == self.stream, f"it is not of the stream {self.stream}")
        expect(self.head[0] == revision + 1, f"expected revision {revision + 1}")
        expect(metadata["prevHash"] == digest, "its prevHash is not the hash of the event before it")
        expect(metadata["hash"] == content, "its hash is not that of its content")
        self.check_kept(expect)

    def check_kept(self, expect):
        for revision, digest in self.kept:
            expect(revision != self.head[0] or digest == self.head[1], f"another event was anchored at revision {revision}")


class Customer:
    """Rules of a customer's stream, as far as they decide what is billed. `calls` are those that voids will name."""

    def __init__(self, customer, month, first, calls):
        self.customer, self.first, self.calls, self.time, self.settled = customer, first, calls, "", set()
        self.whole = month  # the month that must be there from its opener on; None once it has begun
        self.s = {"month": ""} if first == 0 else None  # the state; None until it is known

    def add(self, expect, event):
        kind, data, s = event["type"], event["data"], self.s
        repeated = pick(data, ["detectionId", "yearMonth", "funding", "bucketKey"])
        expect(data["customerId"] == self.customer, "it names another customer")
        expect(data["occurredAt"] >= self.time, "its time lies before that of the event before it")
        self.time = data["occurredAt"]
        if kind in ("DetectionReplayed", "DetectionVoided"):
            expect(data["detectionId"] not in self.settled, "its call was voided or replayed before")
            self.settled.add(data["detectionId"])
        if kind == "DetectionVoided" and data["revision"] >= self.first:
            expect(self.calls[data["revision"]] == repeated, f"no such call stands at revision {data['revision']}")
        if kind == "DetectionSucceeded" and int(event["revision"]) in self.calls:
            self.calls[int(event["revision"])] = repeated
        at = self.time[:7]
        if s is None:
            is_opener = kind == "MonthlyCreditsGranted"
            if self.whole and at >= self.whole:
                expect(is_opener, f"it is the first event of {at} here, and not that month's opener: the beginning is left out")
                self.whole = None
            expect(kind != "CustomerRegistered", "only a registration begins a stream, and begins nothing else")
            of_month = data["yearMonth"] if is_opener or kind == "DetectionSucceeded" else at
            expect(of_month == at, f"its yearMonth is {of_month}, expected {at}")
        else:
            is_first = "plan" not in s
            expect((kind == "CustomerRegistered") == is_first, "only a registration begins a stream, and begins nothing else")
            for name, (found, expected) in {} if is_first else self.determined(s, kind, data):
                expect(found == expected, f"its {name} is {found}, expected {expected}")
        if s is not None or kind == "MonthlyCreditsGranted":
            self.s = self.apply(s or {}, kind, data)

    def determined(self, s, kind, data):
        """What the events before it determine of an event: name, what it is, and what it must be."""
        month, change, moving = self.time[:7], s.get("scheduled"), s.get("moving")
        if kind == "MonthlyCreditsGranted":
            if change and change["effectiveMonth"] <= month:
                s = {**without(s, "scheduled"), **pick(change, TERMS)}
            yield "month", ((data["yearMonth"], s["month"] < month), (month, True))
            yield from ((name, (data.get(name), s.get(name))) for name in OPENER)
            return
        yield "month", (month, s["month"])
        if moving and moving["effectiveAt"] <= self.time:
            takes_over = ("SubscriptionResumed" if "ended" in s else "LicenceChanged", moving["licence"])
            yield "licence, which takes over", ((kind, data.get("licence")), takes_over)
        if kind == "DetectionSucceeded":
            ended, dimension = s.get("ended"), data["bucketKey"].split("|")[2]
            stops = s["plan"] == "free" or s["hardCap"] or ended
            funding = "credit" if s["credit"] < s["monthlyLimit"] else "none, for it had to stop" if stops else "overage"
            keys = [key["keyId"] for key in s["keys"].values() if key.get("expiresAt", "9") > self.time]
            is_over = s["deactivated"] or ended and ended["paidUntil"] <= self.time
            yield "yearMonth", (data["yearMonth"], month)
            yield "sequence", (data["sequence"], s["sequence"] + 1)
            yield "plan and price", ((data["plan"], data["overageUnitPrice"]), (s["plan"], s["overageUnitPrice"]))
            yield "funding", (data["funding"], funding)
            yield "key", (data["keyId"], data["keyId"] if data["keyId"] in keys and not is_over else "a valid one")
            bucket = f"{self.customer}|{identity_of(s['licence'])}|{dimension or 'a dimension'}|{self.time[:13]}Z"
            yield "bucketKey", (data["bucketKey"], bucket)

    COPIED = {"PlanChanged": TERMS, "MonthlyLimitChanged": TERMS, "LicenceChanged": ["licence"],
              "SubscriptionResumed": ["licence"], "DetectionSucceeded": ["sequence"],
              "CustomerRegistered": OPENER, "MonthlyCreditsGranted": OPENER}

    def apply(self, s, kind, data):
        """The state behind the event."""
        moving = s.get("moving")
        if kind in ("CustomerRegistered", "MonthlyCreditsGranted"):
            s = {"keys": {}, "deactivated": False, "month": data.get("yearMonth", ""), "moving": moving,
                 "sequence": 0, "credit": 0, "overage": 0}
        s = {**s, **pick(data, self.COPIED.get(kind, []))}
        if kind in ("HardCapEnabled", "HardCapDisabled"):
            s["hardCap"] = kind == "HardCapEnabled"
        elif kind in ("ApiKeyIssued", "ApiKeyRegenerated"):
            key = {**pick(data, ["keyId", "keyHash", "prefix", "expiresAt"]), "issuedAt": self.time}
            s["keys"] = {**s["keys"], data["slot"]: key}
        elif kind == "ApiKeyDeactivated":
            s["keys"] = without(s["keys"], data["slot"])
        elif kind == "PlanChangeScheduled":
            s["scheduled"] = pick(data, [*TERMS, "effectiveMonth", "origin"])
        elif kind == "ScheduledPlanChangeCancelled":
            del s["scheduled"]
        elif kind == "LicenceChangeScheduled":
            s["moving"] = pick(data, ["licence", "effectiveAt"])
        elif kind in ("LicenceChanged", "SubscriptionResumed"):
            s["moving"] = moving if moving and moving["licence"]["kind"] != data["licence"]["kind"] else None
            s = without(s, "ended") if kind == "SubscriptionResumed" else s
        elif kind == "SubscriptionEnded":
            s["ended"] = pick(data, ["licence", "paidUntil", "reason"])
            is_moving = moving and identity_of(moving["licence"]) == identity_of(data["licence"])
            s["moving"] = None if is_moving else moving
        elif kind == "CustomerDeactivated":
            s["deactivated"] = True
        elif kind == "DetectionSucceeded":
            s[data["funding"]] += 1
        elif kind == "DetectionVoided" and data["yearMonth"] == s["month"]:
            s[data["funding"]] -= 1
        return s

def identity_of(licence):
    if licence["kind"] == "product":
        return licence["productCode"] + "/" + licence.get("awsAccountId", licence.get("customerIdentifier", ""))
    return licence.get("licenceArn", "none")


class Statement:
    def __init__(self, customer, month):
        self.customer, self.month, self.digest, self.cap = customer, month, {"events": 0}, False
        self.terms, self.lines, self.hours, self.changes, self.sequences = [], {}, {}, [], {}

    def add(self, event):
        """An event of the month, or the void of a call of it."""
        kind, data, place = event["type"], event["data"], {"revision": event["revision"], "eventId": event["id"]}
        if data["occurredAt"][:7] == self.month:
            self.digest = {"first": self.digest.get("first", place), "last": place,
                           "events": self.digest["events"] + 1, "hash": event["metadata"]["hash"]}
            self.cap = {"HardCapEnabled": True, "HardCapDisabled": False}.get(kind, data.get("hardCap", self.cap))
            if kind in ("MonthlyCreditsGranted", "PlanChanged", "MonthlyLimitChanged"):
                self.terms.append({**pick(data, TERMS), "since": data["occurredAt"], **place})
        if kind == "DetectionSucceeded":
            self.sequences = {"first": self.sequences.get("first", data["sequence"]), "last": data["sequence"]}
            for tally in self.tallies(data, data, place):
                tally[data["funding"] + "Calls"] += 1
                tally["last"] = place
        elif kind == "DetectionVoided" and data["yearMonth"] == self.month:
            held = [terms for terms in self.terms if int(terms["revision"]) <= data["revision"]][-1]
            for tally in self.tallies(data, held, None):
                tally[data["funding"] + "Calls"] -= 1
                tally["voidedCalls"] += 1
        if kind not in ("DetectionSucceeded", "DetectionReplayed"):
            self.changes.append({**place, **pick(event["metadata"], ["actor", "hash"]), "type": kind, "data": data})

    def tallies(self, data, terms, place):
        price, bucket = terms["overageUnitPrice"], data["bucketKey"]
        new = {"overageUnitPrice": price, "overageCalls": 0, "voidedCalls": 0, "first": place}
        yield self.lines.setdefault((terms["plan"], price), {**new, "plan": terms["plan"], "creditCalls": 0})
        if data["funding"] == "overage":
            yield self.hours.setdefault((bucket, price), {**new, "bucketKey": bucket, "hour": bucket.split("|")[3]})

    def document(self):
        lines, hours = ([{**tally, "amount": amount([tally])} for tally in tallies.values()]
                        for tallies in (self.lines, self.hours))
        return {
            "format": "liveness-statement/1", "customerId": self.customer, "month": self.month, "terms": self.terms,
            "hardCap": self.cap or self.terms[-1]["plan"] == "free", "lines": lines, "hours": hours,
            "changes": self.changes, "digest": self.digest, "overageAmount": amount(lines),
            **{name: sum(line[name] for line in lines) for name in ("creditCalls", "overageCalls", "voidedCalls")},
            **({"sequences": self.sequences} if self.sequences else {}),
        }

def amount(tallies):
    exact, total = Context(prec=200), Decimal(0)
    for tally in tallies:
        total = exact.fma(Decimal(tally["overageUnitPrice"]), tally["overageCalls"], total)
    text = format(total, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class Metering:
    """Rules of the metering stream, all of which stands before the first call: what the month's records hold."""

    def __init__(self, customer, month):
        self.customer, self.month, self.closed = customer, month, None
        self.seals, self.carried, self.attempts = {}, {}, Counter()
        self.adjusted, self.owed = {}, {}  # revision of a void → record, detection
        self.calls, self.tallies = Counter(), {}

    def add(self, expect, event):
        kind, data = event["type"], event["data"]
        name = data.get("recordId")
        expect(data["customerId"] == self.customer, "it names another customer")
        if self.month != (data["yearMonth"] if "yearMonth" in data else name.split("|")[3][:7]):
            return
        if kind == "MonthClosed":
            seals = [pick(seal, ["recordId", "quantity", "ownQuantity", "digest"]) for _, seal in sorted(self.seals.items())]
            expect(self.closed is None, "the month was closed before")
            expect(data["digest"] == sha(canonical(seals)), "its digest is not that of the sealed records")
            expect(data["adjusted"] == len(self.adjusted), f"{len(self.adjusted)} adjustments stand before it")
            self.closed = data
        elif kind == "AdjustmentNoted":
            expect(data["revision"] not in self.adjusted, "a void is adjusted twice")
            self.adjusted[data["revision"]] = (name, data["detectionId"])
        elif kind == "RecordSealed":
            into = sorted((source["recordId"], source["quantity"]) for source in data["carriedFrom"])
            expect(name not in self.seals, "it is sealed twice")
            expect(data["quantity"] == data["ownQuantity"] + sum(quantity for _, quantity in into), "it does not add up")
            expect(into == sorted(self.carried.get(name, [])), "what it says was carried into it was not")
            self.seals[name] = data
        elif kind == "RecordCarriedForward":
            target = data["toRecordId"]
            expect(data["quantity"] == self.seals[name]["quantity"], "not all of it is carried forward")
            expect(target not in self.seals, "it is carried into a record that was sealed")
            self.carried.setdefault(target, []).append((name, data["quantity"]))
        else:
            self.attempts[name] += kind == "SubmissionAttempted"
            expect(data.get("attempt", 0) <= self.attempts[name], "it answers an attempt that was never made")

    def sealed_before(self, name, revision):
        return name in self.seals and self.seals[name]["throughRevision"] < revision

    def record_of(self, bucket, revision):
        """Which record holds a call: the first that can take it."""
        owner, hour = bucket.rsplit("|", 1)
        at, number = datetime.strptime(hour, "%Y-%m-%dT%HZ"), 1
        while f"{at:%Y-%m}" == self.month and not (self.closed and self.closed["throughRevision"] < revision):
            if not self.sealed_before(name := f"{owner}|{at:%Y-%m-%dT%H}Z", revision):
                return name
            at += timedelta(hours=1)
        while self.sealed_before(name := f"{owner}|{self.month}{f'.{number}' if number > 1 else ''}|no_hour_left", revision):
            number += 1
        return name

    def call(self, event):
        """A call of the month, or the void of one."""
        data, revision, by = event["data"], int(event["revision"]), -1 if event["type"] == "DetectionVoided" else 1
        if self.closed and revision <= self.closed["throughRevision"]:
            self.calls[data["funding"]] += by
        if data["funding"] == "credit":
            return
        name = self.record_of(data["bucketKey"], data.get("revision", revision))
        if by < 0 and self.sealed_before(name, revision):
            self.owed[revision] = (name, data["detectionId"])
            return
        tally = self.tallies.setdefault(name, {"own": 0, "late": 0, "digest": "0" * 64, "since": revision})
        tally["own"] += by
        tally["late"] += by * (name != data["bucketKey"])
        tally["digest"] = sha((tally["digest"] + event["metadata"]["hash"]).encode())

    def end(self, expect, last):
        through = self.closed["throughRevision"] if self.closed else -1
        expect(through <= last, f"the month is closed through revision {through}, the customer's stream ends at {last}")
        for name, seal in self.seals.items():
            tally = self.tallies.pop(name, {"own": 0, "late": 0, "digest": "0" * 64})
            expect(seal["throughRevision"] <= last, f"record {name} is sealed through a revision behind the bundle")
            expect((seal["ownQuantity"], seal["lateQuantity"]) == (tally["own"], tally["late"]),
                   f"record {name} holds {seal['ownQuantity']} calls, the customer's stream {tally['own']}")
            expect(seal["digest"] == tally["digest"], f"record {name}: its digest is not that of its calls")
        for revision in {*self.adjusted, *(revision for revision in self.owed if revision <= through)}:
            expect(self.adjusted.get(revision) == self.owed.get(revision),
                   f"the void at revision {revision} was never adjusted, or its adjustment is of something else")
        is_whole = all(tally["since"] > through for tally in self.tallies.values())
        expect(is_whole, "the month is closed, and calls of it are in no sealed record")
        counted = self.closed and (self.closed["creditCalls"], self.closed["overageCalls"])
        expect(counted in (None, (self.calls["credit"], self.calls["overage"])),
               "the month is closed with other totals than the stream has")


# What a verifier of a bundle checks

class Refused(ValueError):
    """In words."""

def lines_of(path, at):
    with open(path, "rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
            at(f"line {number}")
            if len(raw) == LONGEST or raw[-1:] != b"\n":
                raise Refused("it has 32 MiB or more" if len(raw) == LONGEST else "no line feed ends it")
            yield number, raw

def verify(path, keys, kept, at):
    # Read twice, so that of the calls only those need be remembered that are voided.
    voids = (json.loads(raw)["event"] for _, raw in lines_of(path, at) if raw.startswith(b'{"event":') and b"DetectionVoided" in raw)
    calls = {void["data"]["revision"]: None for void in voids if void["type"] == "DetectionVoided"}
    tallies = {part: [0, 0, hashlib.sha256()] for part in PARTS}
    stage, found, manifest = 0, None, None
    for number, raw in lines_of(path, at):
        line, expect = json.loads(raw), at(f"line {number}")
        part = line["part"]
        expect(canonical(line) + b"\n" == raw, "it is not in canonical form")
        expect(manifest is None, "it stands behind the manifest")
        if (number == 1) != (part == "anchors"):
            raise Refused("it is out of order")
        expect(PARTS.index(part) >= stage, "it is out of order")
        stage = PARTS.index(part)
        tallies[part][0] += 1
        tallies[part][1] += len(raw)
        tallies[part][2].update(raw)
        if part == "anchors":
            subject, before, after = pick(line, ["customerId", "month"]), line.get("before"), line["after"]
            customer_id, month = subject["customerId"], subject["month"]
            streams = {"customer": f"customer-{customer_id}", "metering": f"metering-{customer_id}"}
            for point in ("before", "after"):
                if point in line:
                    check_point(at(f"the anchor {point}"), line[point], streams, keys)
            position = lambda point: int(point["anchor"]["position"]["commit"])
            expect(not before or position(before) < position(after), "the anchor before is not older than the one after")
            if before:
                begun = before["anchor"]["through"]
                at("the anchor before")(begun <= f"{month}-01T00:00:00.000Z", f"it is of {begun}, when {month} had begun")
            chains = {part: Chain(streams[side], before and before[side], after[side], kept)
                      for part, side in (("event", "customer"), ("metering", "metering"))}
            for name, point in (("before", before), ("after", after)):
                for side, stream in streams.items() if point else ():
                    check_order(at(stream), name, point["anchor"]["through"], int(point[side]["head"][1]), stream, kept)
            first, last = chains["event"].start[0] + 1, chains["event"].end[0]
            reached = [revision for revision, _ in chains["event"].kept if first - 1 <= revision <= last]
            at("the anchors given")(reached or not kept, "none of them has its head of this customer within the bundle")
            for chain in chains.values():
                chain.check_kept(at(chain.stream))
            metering, statement = Metering(customer_id, month), Statement(customer_id, month)
            rules = {"event": Customer(customer_id, month, first, calls), "metering": metering}
        elif part == "statement":
            found = line["statement"]
        elif part == "manifest":
            manifest = line
        else:
            event = line["event"]
            expect = at(f"{event['stream']} revision {event['revision']} ({event['type']}, {event['id']})")
            chains[part].add(expect, event)
            rules[part].add(expect, event)
            is_call = event["type"] in ("DetectionSucceeded", "DetectionVoided") and event["data"]["yearMonth"] == month
            if part == "event" and is_call:
                metering.call(event)
            if part == "event" and (is_call or event["data"]["occurredAt"][:7] == month):
                statement.add(event)
    if manifest is None:
        return at("the file")(False, "it has no manifest: it was cut off, or is empty")
    for chain in chains.values():
        end = f"it ends at revision {chain.head[0]}, the anchor after has {chain.end[0]}, or another hash"
        at(chain.stream)(chain.head == chain.end, end)
    metering.end(at(streams["metering"]), chains["event"].head[0])
    at("the statement")(found == statement.document(), "it is not what the events say")
    expect, signed = at("the manifest"), manifest["manifest"]
    check_signature(expect, signed, manifest["signature"], keys)
    expect(pick(signed, ["format", *subject]) == {"format": "liveness-bundle/1", **subject}, "it is of another bundle")
    parts = [{"part": part, "lines": lines, "bytes": size, "sha256": digest.hexdigest()}
             for part, (lines, size, digest) in tallies.items() if part != "manifest"]
    expect(signed["parts"] == parts and tallies["statement"][0] == 1, "the parts are not what was signed")

MALFORMED = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError)

def fault_of(error):
    if isinstance(error, OSError):
        return f"{error.filename or 'it'} cannot be read: {error.strerror}"
    missing = isinstance(error, KeyError) and f"{error.args[0]!a:.80} is missing"
    return str(error) if isinstance(error, Refused) else missing or "it is not of the form that docs/audit.md gives"

def main(arguments):
    given = {"--key": [], "--anchor": [], "": []}
    while arguments:
        option = arguments.pop(0) if arguments[0] in given else ""
        given[option].append(arguments.pop(0))
    pems = [load_pem_public_key(open(path, "rb").read()) for path in given["--key"]]
    keys = {sha(pem.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)): pem for pem in pems}
    # Not judged: they are the evidence of whoever runs this.
    kept = [(anchor["through"], {stream: (int(revision), digest) for stream, revision, digest in anchor["heads"]})
            for anchor in (json.load(open(path, "rb")) for path in given["--anchor"])]
    agreeing = 0
    for path in given[""]:
        differences, last = [], {"at": "the file"}
        at = lambda where: last.update(at=where) or (lambda holds, fault: holds or differences.append(f"{where}: {fault}"))
        try:
            verify(path, keys, kept, at)
        except (OSError, *MALFORMED) as error:
            differences.append(f"{last['at']}: {fault_of(error)}; the rest was not judged")
        print("\n  ".join([path + (" DIFFERS" if differences else " agrees"), *differences]))
        agreeing += not differences
    return 0 if agreeing == len(given[""]) > 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, *MALFORMED) as error:
        sys.exit(f"a key or an anchor that was given: {fault_of(error)}")
