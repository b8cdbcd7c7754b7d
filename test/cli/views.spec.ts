/** What commands say, word by word, and options that contradict each other. */
import { expect, test } from 'vitest'
import { addAuditCommands } from '../../src/cli/audit.ts'
import { customerIdArgument } from '../../src/cli/output.ts'
import { aboutPlan } from '../../src/cli/set-plan.ts'
import { keyState } from '../../src/cli/views.ts'
import { decide, isRefusal } from '../../src/commands/customer.ts'
import { customerId, history, registration } from '../support/given.ts'
import { commandsHere } from '../support/here.ts'

const may = '2026-05-04T12:00:00.000Z'

test('a key is valid until its expiry and expired from that instant on', () => {
  const key = { revoked_why: null, expires_at: may }
  expect(keyState(key, '2026-05-04T11:59:59.999Z')).toBe(`valid until ${may}`)
  expect(keyState(key, may)).toBe(`expired ${may}`)
  expect(keyState({ ...key, expires_at: null }, may)).toBe('valid')
  expect(keyState({ ...key, revoked_why: 'customer_deactivated' }, may)).toBe('customer deactivated')
})

test('an id in capitals is the id that the streams are named after', () => {
  const id = '1ea5b4f0-ab12-4cde-8f00-abcdefabcdef'
  expect(customerIdArgument(id.toUpperCase())).toBe(id)
})

test('set-plan says what it cancelled, and that AWS Marketplace takes back what it set for a buyer there', () => {
  const told = (licence: Parameters<typeof registration>[0], plan: 'standard' | 'starter') => {
    const command = { type: 'SetPlan', plan, origin: 'operator', reason: 'asked' } as const
    const state = history([may, registration(licence)], [may, { ...command, plan: 'starter' }])
    const events = decide(state, command, may)
    if (isRefusal(events)) throw new Error(events.message)
    return aboutPlan({ kind: 'done', state, events, revision: 0n })
  }
  expect(told({}, 'starter')).toEqual({ cancelled: null, warning: null })
  expect(told({}, 'standard')).toEqual({
    cancelled: 'The change to starter that was scheduled for 2026-06 is cancelled.',
    warning: null,
  })
  const licence = { kind: 'licence', awsAccountId: '123', licenceArn: 'arn:aws:lm:1' } as const
  expect(told({ licence }, 'starter').warning).toMatch(/^This customer bought in AWS Marketplace, .* sets .* back/)
})

test('audit replay prints JSON or CSV, and refuses to print both', async () => {
  const args = ['replay', '--customer', customerId, '--month', '2026-05', '--json', '--csv']
  const { printed, failure } = await commandsHere(addAuditCommands)({ DATA_DIR: '/dev/null/none' }, 'audit', ...args)
  expect(failure).toContain("option '--csv' cannot be used with option '--json'")
  expect(printed).toBe('')
})
