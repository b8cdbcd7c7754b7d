/** From the link to the keys: /console/activate, /console/enrol, /console/first-keys. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { makeApiKey } from '../../../commands/keys.ts'
import { slots } from '../../../events/catalogue.ts'
import { change, keyKnown } from '../change.ts'
import { type ConsoleDependencies, flash, requireSession, type ShownKey, signedInOf } from '../context.ts'
import type { SessionCookies } from '../session.ts'
import { EnrolPage, FirstKeysPage, LinkPage, RecoveryCodesPage, ShownKeysPage } from './activation.tsx'
import { type Desk, type Faults, fieldsOf, invalid, paramOf, refusal } from './desk.ts'
import { LinkGonePage } from './reset.tsx'

const notShown = 'Your keys were issued, but could not be shown in time. Regenerate each of them under Keys.'
export const notTheSame = 'The two are not the same. Type the new password twice.'

export function registerActivation(
  app: FastifyInstance,
  deps: ConsoleDependencies,
  cookies: SessionCookies,
  desk: Desk,
) {
  const { accounts, publicUrl } = deps
  const linkGone = (request: FastifyRequest, reply: FastifyReply) =>
    desk.show(reply, LinkGonePage({ frame: desk.frame(request, reply) }), 404)

  app.get('/console/activate/:token', async (request, reply) => {
    const link = await accounts.findLink(paramOf(request, 'token'))
    if (link === null) return linkGone(request, reply)
    return desk.show(reply, LinkPage({ frame: desk.frame(request, reply), ...link, action: request.url }))
  })

  app.post('/console/activate/:token', async (request, reply) => {
    const token = paramOf(request, 'token')
    const { password, again } = fieldsOf(request, 'password', 'again')
    const link = await accounts.findLink(token)
    if (link === null) return linkGone(request, reply)
    const show = (faults: Faults, status: number) =>
      desk.show(reply, LinkPage({ frame: desk.frame(request, reply), ...link, action: request.url, faults }), status)
    if (link.purpose === 'activation' && password !== again) {
      const faults = { again: notTheSame }
      return show(faults, invalid(request, faults))
    }
    const outcome = await accounts.openLink(token, password)
    if (outcome.kind === 'gone') return linkGone(request, reply)
    if (outcome.kind === 'weak') {
      const faults = { password: outcome.fault }
      return show(faults, invalid(request, faults))
    }
    if (outcome.kind !== 'ok') {
      const { status, message } = refusal(request, reply, outcome, 'This is not the password of the account.')
      return show({ password: message }, status)
    }
    cookies.begin(reply, outcome)
    return reply.redirect('/console/enrol', 303)
  })

  app.get('/console/enrol', async (request, reply) => enrol(request, reply))

  app.post('/console/enrol', async (request, reply) => {
    const session = request.visit?.session ?? null
    const { code } = fieldsOf(request, 'code')
    const outcome = session === null ? null : await accounts.confirmAuthenticator(session, code)
    if (outcome === null || outcome.kind === 'gone') return enrol(request, reply)
    if (outcome.kind === 'wrong') {
      const words = 'The code is not right. Enter the six digits that the app shows now; its clock must be right.'
      const { status, message } = refusal(request, reply, outcome, words)
      return enrol(request, reply, { code: message }, status)
    }
    // The session is a new one, and so is the token of the forms in this answer.
    const frame = {
      ...desk.frame(request, reply),
      csrf: cookies.begin(reply, outcome),
      signedIn: { email: outcome.session.email },
    }
    const { hasFirstKeys } = await accounts.account(outcome.session.accountId)
    return desk.show(reply, RecoveryCodesPage({ frame, codes: outcome.recoveryCodes, keysNext: !hasFirstKeys }))
  })

  /** The page of the authenticator that is being set up; without one, wherever this visitor belongs. */
  async function enrol(request: FastifyRequest, reply: FastifyReply, faults?: Faults, status = 200) {
    const session = request.visit?.session ?? null
    const pending = session === null ? null : await accounts.pendingAuthenticator(session)
    if (pending === null) {
      if (session?.stage !== 'full') flash(reply, 'Open the link from your mail again, or sign in.')
      return reply.redirect(session?.stage === 'full' ? '/console/account' : '/console/sign-in', 303)
    }
    const { toString: toQrCode } = await import('qrcode') // for one page; a start does without it
    const qr = await toQrCode(pending.uri, { type: 'svg', width: 208, margin: 4 })
    const page = EnrolPage({
      frame: desk.frame(request, reply),
      pending,
      qr,
      ...(faults === undefined ? {} : { faults }),
    })
    return desk.show(reply, page, status)
  }

  app.get('/console/first-keys', { preHandler: requireSession }, async (request, reply) => {
    const { hasFirstKeys } = await accounts.account(signedInOf(request).accountId)
    if (hasFirstKeys) return reply.redirect('/console/keys', 303)
    return desk.show(reply, FirstKeysPage({ frame: desk.frame(request, reply) }))
  })

  app.post('/console/first-keys', { preHandler: requireSession }, async (request, reply) => {
    const keys = await accounts.issueFirstKeys(signedInOf(request).accountId, () => issueKeys(request))
    if (keys === null || keys.length === 0) {
      flash(reply, 'Your keys were issued before. A key is shown once; regenerate one to see a new key.')
      return reply.redirect('/console/keys', 303)
    }
    return desk.show(reply, ShownKeysPage({ frame: desk.frame(request, reply), keys, publicUrl }))
  })

  /** Fills the slots that are empty. A key that was issued to the customer otherwise stays as it is. */
  async function issueKeys(request: FastifyRequest): Promise<readonly ShownKey[]> {
    const { customerId } = signedInOf(request)
    const { state } = await change(deps, request, { type: 'Observe' })
    const made = slots.filter((slot) => state.keys[slot] === undefined).map((slot) => ({ slot, ...makeApiKey() }))
    // Commands of one tick go out as one append: a failure between them cannot leave one key that nobody has seen.
    const done = await Promise.all(
      made.map(({ slot, key }) =>
        change(deps, request, { type: 'RegenerateApiKey', slot, key }, { doubtStanding: false }),
      ),
    )
    const last = done.at(-1)
    if (last !== undefined) await keyKnown(deps, customerId, last.revision, notShown)
    return made.map(({ slot, secret }) => ({ slot, secret }))
  }
}
