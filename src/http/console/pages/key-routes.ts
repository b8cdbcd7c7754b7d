/** /console/keys: shown by prefix, regenerated behind a code, the new key in one response only. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { makeApiKey } from '../../../commands/keys.ts'
import { type Slot, slots } from '../../../events/catalogue.ts'
import { ApiError } from '../../envelope.ts'
import { keyKnown } from '../change.ts'
import { requireSession, signedInOf, wantsJson } from '../context.ts'
import type { ConsolePagesDependencies, ListedKey } from './dependencies.ts'
import type { Desk } from './desk.ts'
import { KeysPage, NewKeyPage, RegeneratePage } from './keys.tsx'

export function registerKeys(app: FastifyInstance, deps: ConsolePagesDependencies, desk: Desk): void {
  const { reads } = deps

  async function currentKeys(request: FastifyRequest): Promise<Record<Slot, ListedKey | null>> {
    const listed = await reads.keys(signedInOf(request).customerId)
    const current = (slot: Slot) => listed.find((key) => key.slot === slot && key.revokedAt === null) ?? null
    return { primary: current('primary'), secondary: current('secondary') }
  }

  app.get('/console/keys', { preHandler: requireSession }, async (request, reply) => {
    const [customer, keys] = await Promise.all([desk.customerIfKnown(request), currentKeys(request)])
    const frame = desk.frame(request, reply)
    return desk.show(reply, KeysPage({ frame, keys, customer, now: deps.clock.now() }))
  })

  /** The page that asks for a code, again where one was wrong. */
  async function askForCode(request: FastifyRequest, reply: FastifyReply, slot: Slot, error?: string) {
    const [customer, { [slot]: found }] = await Promise.all([desk.customerIfKnown(request), currentKeys(request)])
    const frame = desk.frame(request, reply)
    const now = deps.clock.now()
    const page = RegeneratePage({ frame, csrf: frame.csrf, slot, found, customer, now, error })
    return desk.show(reply, page, error === undefined ? 200 : 403)
  }

  app.get('/console/keys/:slot/regenerate', { preHandler: requireSession }, async (request, reply) =>
    askForCode(request, reply, slotOf(request)),
  )

  app.post('/console/keys/:slot/regenerate', { preHandler: requireSession }, async (request, reply) => {
    const slot = slotOf(request)
    const { accountId, customerId } = signedInOf(request)
    const verified = await deps.accounts.verifyTotp(accountId, codeIn(request.body))
    if (verified !== 'ok') {
      const error = verified === 'locked' ? tooMany : wrong
      if (wantsJson(request)) throw new ApiError('forbidden', error)
      return askForCode(request, reply, slot, error)
    }
    const { secret, key } = makeApiKey()
    const { revision } = await desk.change(request, { type: 'RegenerateApiKey', slot, key })
    const late = `The ${slot} key was replaced, but the new one could not be shown in time. Regenerate it again.`
    await keyKnown(deps, customerId, revision, late)
    const firstCallAt = await reads.firstCallAt(customerId)
    const frame = desk.frame(request, reply)
    return desk.show(reply, NewKeyPage({ frame, shown: { slot, secret }, publicUrl: deps.publicUrl, firstCallAt }))
  })
}

const wrong = 'The code is wrong or was used before. Type the code that your authenticator shows now.'
const tooMany = 'Too many wrong codes. Wait a few minutes before you try again.'

/** @throws ApiError not_found */
function slotOf({ params }: FastifyRequest): Slot {
  const { slot } = params as { slot: string }
  const found = slots.find((candidate) => candidate === slot)
  if (found === undefined) throw new ApiError('not_found', 'There is no such key.')
  return found
}

function codeIn(body: unknown): string {
  const { code } = (body ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : ''
}
