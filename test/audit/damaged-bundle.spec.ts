/** Bundles that were damaged, and files that are none: both verifiers say what is wrong in a sentence, and no more. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkBundle } from '../../src/audit/check-bundle.ts'
import { february } from './february.ts'
import { bundleOf, faultsOf, type Line, linesOf } from './lines.ts'
import { havePython, verifyByPython } from './python.ts'
import { chunksOf, type World } from './world.ts'

const python = await havePython()

let world: World
let good: Buffer
beforeAll(async () => {
  const made = await february()
  ;({ world } = made)
  good = await world.export(made.customerId, made.month)
})
afterAll(() => world.close())

describe('a file that is damaged', () => {
  const text = () => good.toString()
  /** Of an undamaged bundle, counted from its end. */
  const fromTheEnd = (fault: string) =>
    fault.replace(/^line (\d+)/, (line, n) => (Number(n) < 3 ? line : `line −${linesOf(good).length + 1 - Number(n)}`))
  const withLine = (n: number, change: (line: Line) => void): Buffer => {
    const lines = linesOf(good)
    change(lines.at(n) ?? {})
    return bundleOf(lines)
  }
  /** What was done, what is said here (all of it), and what in Python begins with. */
  const damages: [string, () => Buffer, string[], RegExp][] = [
    [
      'empty',
      () => Buffer.alloc(0),
      ['the file: it holds no part "anchors": it is no bundle'],
      /^the file: it has no man/,
    ],
    [
      'no object',
      () => Buffer.from('null\n'),
      ['line 1: it is no line of a bundle: it is no object'],
      /^line 1: it is not of/,
    ],
    [
      'a list',
      () => Buffer.from('[]\n'),
      ['line 1: it is no line of a bundle: it is no object'],
      /^line 1: it is not of/,
    ],
    ['binary', () => Buffer.from([0xff, 0, 0x89, 10]), ['line 1: it is no JSON'], /^line 1: it is not of the form/],
    [
      'a field gone from the first line',
      () => withLine(0, (line) => delete line.after),
      ['line 1: it is no line of a bundle: "after" is missing'],
      /^line 1: 'after' is missing/,
    ],
    [
      'a UUID that is none',
      () => withLine(0, (line) => Object.assign(line, { customerId: 'me' })),
      ['line 1: it is no line of a bundle: "customerId" is not a UUID'],
      /^the anchor before: it proves the head/,
    ],
    [
      'a signature that is a number',
      () => withLine(-1, (line) => Object.assign(line, { signature: 5 })),
      ['line −1: it is no line of a bundle: "signature" is not a text'],
      /^the manifest: it is not of the form/,
    ],
    [
      'a statement that is a text',
      () => withLine(-2, (line) => Object.assign(line, { statement: 'paid' })),
      [
        'line −2: it is no line of a bundle: "statement" is not an object',
        'the manifest: part "statement" is not what was signed (1 lines, 1 found)',
      ],
      /^the statement: it is not what/,
    ],
    [
      'the last line feed gone',
      () => good.subarray(0, -1),
      ['line −1: it does not end with a line feed'],
      /^line \d+: no line feed ends it/,
    ],
    [
      'half of a character',
      () => Buffer.from(text().replace('"actor":"', '"actor":"\\ud800')),
      [],
      /^line \d+: it is not of the form/,
    ],
    [
      'data that is nothing',
      () => withLine(1, ({ event }) => Object.assign(event, { data: null })),
      [],
      /it is not of the form/,
    ],
  ]

  test.for(damages)('%s: only what is wrong is said', async ([, damage, faults]) => {
    const found = faultsOf(await checkBundle(chunksOf(damage()), world.keys)).map(fromTheEnd)
    if (faults.length > 0) expect(found).toEqual(faults)
    expect(found).not.toEqual([])
    expect(found.join('\n')).not.toMatch(/Invalid|pattern|expected (string|record)/)
  })

  test('is named in a sentence by the Python verifier too', { skip: !python }, async () => {
    const long = Buffer.concat([Buffer.alloc((1 << 25) - 1, 'x'), Buffer.from('\n')])
    const found = await verifyByPython(world.keys, [...damages.map(([, damage]) => damage()), long])
    for (const [index, [name, , , named]] of damages.entries()) expect(found[index]?.join('\n'), name).toMatch(named)
    expect(found.at(-1)).toEqual(['line 1: it has 32 MiB or more; the rest was not judged'])
    expect(found.flat().join('\n')).not.toMatch(/Error|Traceback/)
  })
})

test('a file without an end or without lines is left in a sentence, not read into memory', async () => {
  let given = 0
  let isClosed = false
  async function* endless(chunk: Buffer): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        given += chunk.length
        yield chunk
      }
    } finally {
      isClosed = true
    }
  }
  const zeros = await checkBundle(endless(Buffer.alloc(1 << 20)), world.keys)
  expect(faultsOf(zeros)).toEqual(['line 1: it has 32 MiB or more: this is no bundle'])
  expect(given).toBeLessThan(40 << 20)
  expect(isClosed).toBe(true)
  isClosed = false
  const lines = await checkBundle(endless(Buffer.from('{}\n'.repeat(1_000))), world.keys)
  expect(faultsOf(lines).length).toBeLessThan(10_010)
  expect(isClosed).toBe(true)
})
