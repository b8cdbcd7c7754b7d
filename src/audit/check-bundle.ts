/**
 * Verifies a bundle as docs/audit.md says, from the file, public keys and nothing else: no database, no event store,
 * no setting.
 */
import { createHash, type Hash } from 'node:crypto'
import { canonicalBytes } from '../events/canonical.ts'
import { type Anchor, type PublicKeys, signatureFault } from './anchor.ts'
import { type BundleLine, lineSchema, type PartName, partNames } from './bundle.ts'
import { contentCheck } from './bundle-content.ts'
import { formFault } from './form-fault.ts'

export interface Difference {
  /** A line of the file, an event, a record, or a part. */
  readonly where: string
  readonly fault: string
}

export interface BundleReport {
  /** Empty when everything agrees. */
  readonly differences: readonly Difference[]
  /** What was verified; null when the file does not even begin as a bundle, or was left before its end. */
  readonly content: (ReturnType<ReturnType<typeof contentCheck>['end']> & { customerId: string; month: string }) | null
}

type ManifestLine = Extract<BundleLine, { part: 'manifest' }>

/** @param kept anchors the verifier has from elsewhere: the only thing that a holder of the signing key cannot forge */
export async function checkBundle(
  chunks: AsyncIterable<Buffer>,
  keys: PublicKeys,
  kept: readonly Anchor[] = [],
): Promise<BundleReport> {
  const differences: Difference[] = []
  const say = (where: string, fault: string) => void differences.push({ where, fault })
  const tallies = new Map(partNames.map((part) => [part, { lines: 0, bytes: 0, hash: createHash('sha256') }]))
  let subject: { customerId: string; month: string; check: ReturnType<typeof contentCheck> } | undefined
  let manifest: ManifestLine | undefined
  let stage = 0
  let number = 0
  /** Parts of lines that cannot be read; '' where not even that is known. They are not missing from the file. */
  const damaged = new Set<PartName | 'manifest' | ''>()
  const isMissing = (part: PartName | 'manifest') => !damaged.has(part) && !damaged.has('')

  const lines = linesOf(chunks)
  for (;;) {
    const bytes = await nextLine(lines, (fault) => say(`line ${number + 1}`, fault))
    if (bytes === null) return { differences, content: null }
    if (bytes === undefined) break
    if (differences.length >= mostDifferences) {
      say('the file', `more than ${mostDifferences} differences: read no further than line ${number}`)
      await lines.return(undefined)
      return { differences, content: null }
    }
    number += 1
    const where = `line ${number}`
    const { part, line } = readLine(bytes, (fault) => say(where, fault))
    if (manifest !== undefined) say(where, 'it stands behind the manifest')
    const tally = tallies.get(part as PartName)
    if (tally !== undefined) {
      tally.lines += 1
      tally.bytes += bytes.length
      tally.hash.update(bytes)
    }
    if (line === null) {
      // The half of a line that a file ends with when it was cut off stands for no other.
      if (part !== '' || bytes.at(-1) === lineFeed) damaged.add(part)
      continue
    }
    if (line.part === 'manifest') {
      manifest ??= line
      continue
    }
    const place = partNames.indexOf(line.part)
    if (place < stage) say(where, `a line of part "${line.part}" stands behind one of part "${partNames[stage]}"`)
    stage = Math.max(stage, place)
    if (line.part === 'anchors') {
      if (subject !== undefined) say(where, 'a second part "anchors"')
      const { customerId, month } = line
      subject ??= { customerId, month, check: contentCheck(line, keys, kept, say) }
    } else if (subject === undefined) {
      if (isMissing('anchors')) say(where, 'the file does not begin with the part "anchors"')
      return { differences, content: null }
    } else if (line.part === 'statement') subject.check.statement(line.statement)
    else if (line.part === 'metering') subject.check.metering(line.event)
    else subject.check.event(line.event)
  }
  if (subject === undefined) {
    if (isMissing('anchors')) say('the file', 'it holds no part "anchors": it is no bundle')
    return { differences, content: null }
  }
  const statements = tallies.get('statement')?.lines ?? 0
  if (statements > 1 || (statements === 0 && isMissing('statement'))) say('the file', 'it must hold one statement')
  const { customerId, month, check } = subject
  if (manifest === undefined) {
    if (isMissing('manifest')) say('the file', 'it has no manifest: it was cut off')
  } else for (const fault of manifestFaults(manifest, tallies, subject, keys)) say('the manifest', fault)
  return { differences, content: { customerId, month, ...check.end() } }
}

/** Undefined at the end, null where a line has none. */
async function nextLine(
  lines: AsyncGenerator<Buffer, void, undefined>,
  say: (fault: string) => void,
): Promise<Buffer | null | undefined> {
  try {
    return (await lines.next()).value ?? undefined
  } catch (error) {
    if (!(error instanceof NoBundle)) throw error
    say(error.message)
    return null
  }
}

type Tallies = ReadonlyMap<PartName, { readonly lines: number; readonly bytes: number; readonly hash: Hash }>

function manifestFaults(
  { manifest, signature }: ManifestLine,
  tallies: Tallies,
  subject: { readonly customerId: string; readonly month: string },
  keys: PublicKeys,
): string[] {
  const unsigned = signatureFault(manifest, signature, keys)
  const faults = unsigned === null ? [] : [unsigned]
  if (manifest.customerId !== subject.customerId || manifest.month !== subject.month) {
    faults.push(`it is of customer ${manifest.customerId} and ${manifest.month}`)
  }
  if (manifest.parts.map(({ part }) => part).join() !== partNames.join()) faults.push('it does not list the parts')
  for (const { part, lines, bytes, sha256 } of manifest.parts) {
    const found = tallies.get(part)
    const agrees = found?.lines === lines && found.bytes === bytes && found.hash.copy().digest('hex') === sha256
    if (!agrees) faults.push(`part "${part}" is not what was signed (${lines} lines, ${found?.lines ?? 0} found)`)
  }
  return faults
}

const lineFeed = 10
/** A statement with some 50,000 changes; events are far below. A line of a bundle is shorter. */
const longestLine = 32 * 1_048_576
/** So many differences are named; a file that has more is read no further. */
const mostDifferences = 10_000

class NoBundle extends Error {}

/** Lines with their line feeds. A carriage return or a line separator inside a string ends no line. @throws NoBundle */
async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let pending: Buffer[] = []
  let size = 0
  const grow = (bytes: number) => {
    size += bytes
    if (size >= longestLine) throw new NoBundle(`it has ${longestLine / 1_048_576} MiB or more: this is no bundle`)
  }
  for await (const chunk of chunks) {
    let from = 0
    for (let at = chunk.indexOf(lineFeed); at >= 0; at = chunk.indexOf(lineFeed, from)) {
      grow(at + 1 - from)
      yield Buffer.concat([...pending, chunk.subarray(from, at + 1)])
      pending = []
      size = 0
      from = at + 1
    }
    grow(chunk.length - from)
    if (from < chunk.length) pending.push(chunk.subarray(from))
  }
  if (pending.length > 0) yield Buffer.concat(pending)
}

/** The line, null where it is none, and what part it says it is of; '' for none of a bundle. */
function readLine(
  bytes: Buffer,
  say: (fault: string) => void,
): { part: PartName | 'manifest' | ''; line: BundleLine | null } {
  const text = bytes.toString('utf8')
  const isWhole = bytes.at(-1) === lineFeed
  if (!isWhole) say('it does not end with a line feed')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    if (isWhole) say('it is no JSON')
    return { part: '', line: null }
  }
  // One spelling only, so that no two verifiers read a line differently.
  if (!isCanonical(value, isWhole ? bytes.subarray(0, -1) : bytes)) say('it is not in canonical form')
  const parsed = lineSchema.safeParse(value)
  if (parsed.success) return { part: parsed.data.part, line: parsed.data }
  say(`it is no line of a bundle: ${formFault(parsed.error, value)}`)
  const named = (value as { part?: unknown } | null)?.part
  return { part: [...partNames, 'manifest' as const].find((part) => part === named) ?? '', line: null }
}

function isCanonical(value: unknown, bytes: Buffer): boolean {
  try {
    return canonicalBytes(value).equals(bytes)
  } catch {
    return false // half of a surrogate pair has no such form
  }
}
