/**
 * Verifies a bundle as docs/audit.md says, from the file, public keys and nothing else: no database, no event store,
 * no setting.
 */
import { createHash, type Hash } from 'node:crypto'
import { canonicalText } from '../events/canonical.ts'
import { type Anchor, type PublicKeys, signatureFault } from './anchor.ts'
import { type BundleLine, lineSchema, type PartName, partNames } from './bundle.ts'
import { contentCheck } from './bundle-content.ts'

export interface Difference {
  /** A line of the file, an event, a record, or a part. */
  readonly where: string
  readonly fault: string
}

export interface BundleReport {
  /** Empty when everything agrees. */
  readonly differences: readonly Difference[]
  /** What was verified; null when the file does not even begin as a bundle. */
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

  const lines = linesOf(chunks)
  for (;;) {
    const bytes = await nextLine(lines, (fault) => say('the file', `line ${number + 1}: ${fault}`))
    if (bytes === null) break
    if (differences.length >= mostDifferences) {
      say('the file', `more than ${mostDifferences} differences: read no further than line ${number}`)
      await lines.return(undefined)
      break
    }
    number += 1
    const where = `line ${number}`
    const line = readLine(bytes, (fault) => say(where, fault))
    if (manifest !== undefined) say(where, 'it stands behind the manifest')
    if (line === null) continue
    if (line.part === 'manifest') {
      manifest ??= line
      continue
    }
    const place = partNames.indexOf(line.part)
    if (place < stage) say(where, `a line of part "${line.part}" stands behind one of part "${partNames[stage]}"`)
    stage = Math.max(stage, place)
    const tally = tallies.get(line.part)
    if (tally !== undefined) {
      tally.lines += 1
      tally.bytes += bytes.length
      tally.hash.update(bytes)
    }
    if (line.part === 'anchors') {
      if (subject !== undefined) say(where, 'a second part "anchors"')
      const { customerId, month } = line
      subject ??= { customerId, month, check: contentCheck(line, keys, kept, say) }
    } else if (subject === undefined) {
      say(where, 'the file does not begin with the part "anchors"')
      return { differences, content: null }
    } else if (line.part === 'statement') subject.check.statement(line.statement)
    else if (line.part === 'metering') subject.check.metering(line.event)
    else subject.check.event(line.event)
  }
  if (tallies.get('statement')?.lines !== 1) say('the file', 'it must hold one statement')
  if (subject === undefined) {
    say('the file', 'it holds no part "anchors": it is no bundle')
    return { differences, content: null }
  }
  const { customerId, month, check } = subject
  if (manifest === undefined) say('the file', 'it has no manifest: it was cut off')
  else for (const fault of manifestFaults(manifest, tallies, subject, keys)) say('the manifest', fault)
  return { differences, content: { customerId, month, ...check.end() } }
}

/** Null at the end, also where a line has none. */
async function nextLine(
  lines: AsyncGenerator<Buffer, void, undefined>,
  say: (fault: string) => void,
): Promise<Buffer | null> {
  try {
    return (await lines.next()).value ?? null
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

/** A statement with some 50,000 changes; events are far below. Longer lines are of no bundle. */
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
    if (size > longestLine)
      throw new NoBundle(`it has a line of more than ${longestLine / 1_048_576} MiB: it is no bundle`)
  }
  for await (const chunk of chunks) {
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
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

function readLine(bytes: Buffer, say: (fault: string) => void): BundleLine | null {
  const text = bytes.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
    // One spelling only, so that no two verifiers read a line differently.
    if (!Buffer.from(`${canonicalText(value)}\n`).equals(bytes)) say('it is not in canonical form')
  } catch {
    say('it is no JSON')
    return null
  }
  const line = lineSchema.safeParse(value)
  if (line.success) return line.data
  const [issue] = line.error.issues
  say(`it is no line of a bundle: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`)
  return null
}
