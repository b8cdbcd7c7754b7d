/** /console/reset: a code by mail, then a new password. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type ConsoleDependencies, flash } from '../context.ts'
import { notTheSame } from './activation-routes.ts'
import { type Desk, emailOf, type Faults, fieldsOf, invalid, refusal } from './desk.ts'
import { ResetPage, ResetRequestPage } from './reset.tsx'

/** Carries the address from the first form to the second, signed; as long as the code is good. */
const emailCookie = 'liveness-reset'
const emailSeconds = 15 * 60

export function registerReset(app: FastifyInstance, { accounts }: ConsoleDependencies, desk: Desk) {
  app.get('/console/reset', async (request, reply) =>
    desk.show(reply, ResetRequestPage({ frame: desk.frame(request, reply) })),
  )

  app.post('/console/reset', async (request, reply) => {
    const { email: typed } = fieldsOf(request, 'email')
    const show = (faults: Faults, status: number) =>
      desk.show(reply, ResetRequestPage({ frame: desk.frame(request, reply), email: typed, faults }), status)
    const email = emailOf(typed)
    if (email === null) {
      const faults = { email: 'This is not an e-mail address. It has the form name@example.com.' }
      return show(faults, invalid(request, faults))
    }
    const outcome = await accounts.requestReset(email, request.ip)
    if (outcome.kind !== 'ok') {
      const { status, message } = refusal(request, reply, outcome, '')
      return show({ form: message }, status)
    }
    reply.setCookie(emailCookie, email, { signed: true, maxAge: emailSeconds })
    return reply.redirect('/console/reset/code', 303)
  })

  app.get('/console/reset/code', async (request, reply) => {
    const email = emailIn(request)
    if (email === null) return reply.redirect('/console/reset', 303)
    return desk.show(reply, ResetPage({ frame: desk.frame(request, reply), email }))
  })

  app.post('/console/reset/code', async (request, reply) => {
    const email = emailIn(request)
    if (email === null) {
      flash(reply, 'The time for that code is over. Ask for a new one.')
      return reply.redirect('/console/reset', 303)
    }
    const { code, password, again } = fieldsOf(request, 'code', 'password', 'again')
    const show = (faults: Faults, status: number) =>
      desk.show(reply, ResetPage({ frame: desk.frame(request, reply), email, faults }), status)
    if (password !== again) {
      const faults = { again: notTheSame }
      return show(faults, invalid(request, faults))
    }
    const outcome = await accounts.reset({ email, code, password, from: request.ip })
    if (outcome.kind === 'weak') {
      const faults = { password: outcome.fault }
      return show(faults, invalid(request, faults))
    }
    if (outcome.kind !== 'ok') {
      const words =
        'The code is not right, or no longer good. A code can be tried five times; you can ask for a new one.'
      const { status, message } = refusal(request, reply, outcome, words)
      return show(outcome.kind === 'wrong' ? { code: message } : { form: message }, status)
    }
    reply.clearCookie(emailCookie)
    flash(reply, 'Your new password is set, and all sessions have ended. Sign in with it.')
    return reply.redirect('/console/sign-in', 303)
  })
}

function emailIn(request: FastifyRequest): string | null {
  const cookie = request.cookies[emailCookie]
  return cookie === undefined ? null : request.unsignCookie(cookie).value
}
