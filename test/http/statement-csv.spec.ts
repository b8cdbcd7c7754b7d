import { expect, test } from 'vitest'
import type { CustomerEvent } from '../../src/events/catalogue.ts'
import { csvLines } from '../../src/http/console/pages/statement-csv.ts'
import { customerId } from '../support/given.ts'

/** What the file has of an event behind its type: description, actor and the rest. */
async function cellsOf(reason: string, actor: string): Promise<string> {
  const data = { customerId, occurredAt: '2026-03-01T00:00:00.000Z', reason }
  const event: CustomerEvent = { type: 'CustomerDeactivated', data }
  async function* events() {
    yield { event, revision: 7n, eventId: 'id', actor, hash: 'hash' }
  }
  let text = ''
  for await (const line of csvLines(events())) text += line
  return text.slice(text.indexOf('CustomerDeactivated,') + 'CustomerDeactivated,'.length)
}

test.for(['=1+1', '+1+1', '-1+1', '@SUM(A1)', '\t=1', '\r=1', '=HYPERLINK("http://x","y")'])(
  'a cell that a spreadsheet would take for a formula is text: %j',
  async (actor) => {
    const cells = await cellsOf('closed', actor)
    expect(cells).toMatch(/^Account deactivated: closed,"?'/)
    expect(cells.replaceAll('""', '"')).toContain(`'${actor}`)
  },
)

test('amounts that are below zero stay numbers, and what came from outside cannot end its cell', async () => {
  expect(await cellsOf('closed', '-0.18')).toMatch(/^Account deactivated: closed,-0.18,/)
  expect(await cellsOf('a "b",\r\n=1+1', 'operator')).toMatch(/^"Account deactivated: a ""b"",\r\n=1\+1",operator,/)
})
