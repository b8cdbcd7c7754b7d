import { isUtf8 } from 'node:buffer'
import type { StoredRow } from './model.ts'
import { encodeEvent } from './protocol.ts'

/**
 * A message that somebody has spoilt in the table would end each read that meets it with an error of the client's
 * decoder, and nobody would learn which event it was. So a row whose message is none is served as an event in its place
 * that has no id, body and metadata: readers refuse it by its name, and the rest of the log can still be read.
 */
export function undamaged(row: StoredRow): StoredRow {
  return isWhole(row.message) ? row : { ...row, message: placeholder(row) }
}

const nobody = '00000000-0000-0000-0000-000000000000'
const nothing = new Uint8Array()

function placeholder({ stream, revision, position, type }: StoredRow): Buffer {
  const empty = { id: nobody, type, contentType: 'application/octet-stream', data: nothing, customMetadata: nothing }
  return encodeEvent(empty, stream, revision, position, 0)
}

/** What a field holds: a value, or a message of these fields. Only those that `encodeEvent` writes are known. */
type Fields = ReadonlyMap<number, Field>
type Field = 'number' | 'bytes' | 'text' | Fields
const id: Fields = new Map([[2, 'text']])
const name: Fields = new Map([[3, 'bytes']])
const metadata: Fields = new Map([1, 2].map((part) => [part, 'text']))
const recordedEvent: Fields = new Map<number, Field>([
  [1, id],
  [2, name],
  ...[3, 4, 5].map((place) => [place, 'number'] as const),
  [6, metadata],
  ...[7, 8].map((body) => [body, 'bytes'] as const),
])
const readEvent: Fields = new Map<number, Field>([
  [1, recordedEvent],
  [3, 'number'],
])
const readResp: Fields = new Map([[1, readEvent]])

/**
 * Whether the message is an event with an id and a stream: a walk over its fields that decodes nothing, at a third of
 * what decoding costs. Protocol buffers' wire format: https://protobuf.dev/programming-guides/encoding/
 */
function isWhole(message: Buffer): boolean {
  const seen = new Set<Fields>()
  let at = 0

  /** NaN where there is none before `end`. */
  function number(end: number): number {
    let value = 0
    for (let shift = 0; shift < 70 && at < end; shift += 7) {
      const byte = message[at++] ?? 0
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    return Number.NaN
  }

  function isMessage(end: number, fields: Fields): boolean {
    seen.add(fields)
    while (at < end) {
      const tag = number(end)
      const field = fields.get(Math.floor(tag / 8))
      const value = number(end)
      if (Number.isNaN(value) || tag % 8 !== (field === 'number' ? 0 : 2)) return false
      if (field === undefined) return false
      if (field === 'number') continue
      const next = at + value
      if (next > end) return false
      if (field === 'text' && !isText(message, at, next)) return false
      if (typeof field === 'object' && !isMessage(next, field)) return false
      at = next
    }
    return true
  }

  return isMessage(message.length, readResp) && seen.has(id) && seen.has(name)
}

/** Nearly all text here is ASCII, for which no slice need be made. */
function isText(message: Buffer, from: number, end: number): boolean {
  for (let at = from; at < end; at++) {
    if ((message[at] ?? 0) >= 0x80) return isUtf8(message.subarray(from, end))
  }
  return true
}
