/** /console/sign-in and sign-out. */
import type { FastifyInstance } from 'fastify'
import { type ConsoleDependencies, flash } from '../context.ts'
import type { SessionCookies } from '../session.ts'
import { type Desk, fieldsOf, invalid, refusal } from './desk.ts'
import { SignInPage } from './sign-in.tsx'

/** Pages of this console only: an address of somebody else's must not follow a sign-in. */
const nextShape = /^\/console\/[\w/-]+(?:\?[\w=&%.-]*)?$/
const nextOf = (given: unknown): string | undefined =>
  typeof given === 'string' && nextShape.test(given) ? given : undefined

export function registerSignIn(app: FastifyInstance, deps: ConsoleDependencies, cookies: SessionCookies, desk: Desk) {
  const { accounts } = deps

  for (const entrance of ['/console', '/console/']) {
    app.get(entrance, async (_request, reply) => reply.redirect('/console/dashboard', 303))
  }

  app.get('/console/sign-in', async (request, reply) => {
    if (request.visit?.session?.stage === 'full') return reply.redirect('/console/dashboard', 303)
    const { next } = request.query as { readonly next?: unknown }
    return desk.show(reply, SignInPage({ frame: desk.frame(request, reply), next: nextOf(next) }))
  })

  app.post('/console/sign-in', async (request, reply) => {
    const { email, password, code, next } = fieldsOf(request, 'email', 'password', 'code', 'next')
    const again = { email: email.trim(), next: nextOf(next) }
    const faults = {
      email: email.trim() === '' ? 'Enter the e-mail address of your account.' : undefined,
      password: password === '' ? 'Enter your password.' : undefined,
      code: code.trim() === '' ? 'Enter the code that your authenticator shows.' : undefined,
    }
    if (faults.email ?? faults.password ?? faults.code) {
      const status = invalid(request, faults)
      return desk.show(reply, SignInPage({ frame: desk.frame(request, reply), ...again, faults }), status)
    }
    const before = request.visit?.token ?? null
    const outcome = await accounts.signIn({ email: email.trim(), password, code, from: request.ip, before })
    if (outcome.kind !== 'ok') {
      const words = 'E-mail address, password and code do not go together. A code works once: use the one shown now.'
      const { status, message } = refusal(request, reply, outcome, words)
      const page = SignInPage({ frame: desk.frame(request, reply), ...again, faults: { form: message } })
      return desk.show(reply, page, status)
    }
    cookies.begin(reply, outcome)
    const { hasFirstKeys } = await accounts.account(outcome.session.accountId)
    return reply.redirect(hasFirstKeys ? (again.next ?? '/console/dashboard') : '/console/first-keys', 303)
  })

  app.post('/console/sign-out', async (request, reply) => {
    const token = request.visit?.token ?? null
    if (token !== null) await accounts.endSession(token)
    cookies.end(reply)
    flash(reply, 'You are signed out.')
    return reply.redirect('/console/sign-in', 303)
  })
}
