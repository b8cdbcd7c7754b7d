import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { packageRoot } from '../../src/built.ts'
import { currentVersion, customerEventData, isCustomerEventType } from '../../src/events/catalogue.ts'
import { parseCustomerEvent, UnreadableEvent } from '../../src/events/parse.ts'
import type { StoredEvent } from '../../src/eventstore/store.ts'

const golden = new URL('test/events/golden/', packageRoot)
const files = readdirSync(golden)

const stored = (type: string, data: unknown, schema = '1'): StoredEvent => ({
  stream: 'customer-x',
  revision: 7n,
  id: 'an-id',
  type,
  data,
  metadata: { correlationId: 'r', causationId: 'c', actor: 'operator', schema, prevHash: '', hash: '0'.repeat(64) },
  created: new Date(0),
})

describe('golden events: every version ever written stays readable', () => {
  test.each(files)('%s', (file) => {
    const [type = '', version = ''] = file.replace('.json', '').split('.v')
    const data = JSON.parse(readFileSync(new URL(file, golden), 'utf8'))
    expect(parseCustomerEvent(stored(type, data, version)).event.type).toBe(type)
  })
  test('there is one for every version of every type', () => {
    const expected = Object.entries(currentVersion).flatMap(([type, version]) =>
      Array.from({ length: version }, (_, i) => `${type}.v${i + 1}.json`),
    )
    expect(files.sort()).toEqual(expected.sort())
  })
  test('data hold strings, booleans and integers only, under ASCII keys', () => {
    const check = (value: unknown): boolean =>
      typeof value === 'string' ||
      typeof value === 'boolean' ||
      Number.isSafeInteger(value) ||
      (Array.isArray(value) && value.every(check)) ||
      (typeof value === 'object' &&
        value !== null &&
        Object.entries(value).every(([key, v]) => /^[a-zA-Z]+$/.test(key) && check(v)))
    for (const file of files) expect(check(JSON.parse(readFileSync(new URL(file, golden), 'utf8'))), file).toBe(true)
    expect(Object.keys(customerEventData).every(isCustomerEventType)).toBe(true)
  })
})

describe('what cannot be read stops the reader and says where', () => {
  test.each([
    ['a body that is no JSON', stored('HardCapEnabled', '{broken')],
    ['an unknown type', stored('SomethingElse', {})],
    ['a field too many', stored('HardCapEnabled', { customerId: 'x', occurredAt: 'y', extra: 1 })],
    ['a version from the future', stored('HardCapEnabled', {}, '99')],
  ])('%s', (_, event) => {
    expect(() => parseCustomerEvent(event)).toThrow(UnreadableEvent)
    expect(() => parseCustomerEvent(event)).toThrow('customer-x revision 7')
  })
})
