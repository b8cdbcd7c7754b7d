/** What a command is told amiss is refused before anything is opened or started. */
import { expect, test } from 'vitest'
import { addCustomerCommands } from '../../src/cli/customer.ts'
import { addKeyCommands } from '../../src/cli/key.ts'
import { addMarketplaceCommands } from '../../src/cli/marketplace.ts'
import { commandsHere } from '../support/here.ts'

const here = commandsHere(addCustomerCommands, addKeyCommands, addMarketplaceCommands)
const id = '00000000-0000-4000-8000-000000000000'

test.each(['2999-02-30', 'Dec 25, 2999', '2999', '2020-01-01', '2020-01-01T00:00:00Z'])(
  'a key does not expire at %s: no day of the calendar, not ISO 8601, or over',
  async (expires) => {
    const { failure } = await here({}, 'key', 'regenerate', id, 'primary', '--expires', expires)
    expect(failure).toContain('It must be a date or an instant (ISO 8601) in the future.')
  },
)

test.each([
  ['marketplace', 'dismiss', 'm-1'],
  ['key', 'deactivate', id, 'primary'],
  ['customer', 'deactivate', id],
  ['customer', 'set-plan', id, '--plan', 'free'],
])('%s %s asks for a reason in words where it asks for one', async (...command) => {
  for (const reason of ['', '  ']) {
    const { failure } = await here({}, ...command, '--reason', reason)
    expect(failure).toContain('It must be a reason, in words.')
  }
})
