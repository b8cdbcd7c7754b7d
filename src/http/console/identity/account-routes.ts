/** /console/account, the changes made from there, and the links that confirm a new e-mail address. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ProofRefused } from '../../../accounts/second-factor.ts'
import { type ConsoleDependencies, flash, requireSession, signedInOf } from '../context.ts'
import type { SessionCookies } from '../session.ts'
import {
  AccountPage,
  AuthenticatorPage,
  ConfirmEmailPage,
  EmailConfirmedPage,
  EmailPage,
  NewRecoveryCodesPage,
  PasswordPage,
} from './account.tsx'
import { RecoveryCodesPage } from './activation.tsx'
import { notTheSame } from './activation-routes.ts'
import { type Desk, emailOf, type Faults, fieldsOf, invalid, paramOf, refusal } from './desk.ts'
import { LinkGonePage } from './reset.tsx'

const wrongWords = {
  password: 'This is not your password.',
  code: 'The code is not right, or was used before. Enter the one that your authenticator shows now.',
}

export function registerAccount(app: FastifyInstance, deps: ConsoleDependencies, cookies: SessionCookies, desk: Desk) {
  const { accounts } = deps
  const signedIn = { preHandler: requireSession }

  /** The fault beside the field that was wrong, and the status. */
  function refused(request: FastifyRequest, reply: FastifyReply, outcome: ProofRefused) {
    const words = outcome.kind === 'wrong' ? wrongWords[outcome.what] : ''
    const { status, message } = refusal(request, reply, outcome, words)
    if (outcome.kind === 'locked') return { status, faults: { form: message } }
    return { status, faults: outcome.what === 'password' ? { present: message } : { code: message } }
  }

  app.get('/console/account', signedIn, async (request, reply) => {
    const account = await accounts.account(signedInOf(request).accountId)
    return desk.show(reply, AccountPage({ frame: desk.frame(request, reply), account }))
  })

  app.get('/console/account/password', signedIn, async (request, reply) => {
    const { email } = signedInOf(request)
    return desk.show(reply, PasswordPage({ frame: desk.frame(request, reply), email }))
  })
  app.post('/console/account/password', signedIn, async (request, reply) => {
    const who = signedInOf(request)
    const { present, password, again } = fieldsOf(request, 'present', 'password', 'again')
    const show = (faults: Faults, status: number) =>
      desk.show(reply, PasswordPage({ frame: desk.frame(request, reply), email: who.email, faults }), status)
    if (password !== again) {
      const faults = { again: notTheSame }
      return show(faults, invalid(request, faults))
    }
    const outcome = await accounts.changePassword(who, present, password)
    if (outcome.kind === 'weak') {
      const faults = { password: outcome.fault }
      return show(faults, invalid(request, faults))
    }
    if (outcome.kind !== 'ok') {
      const { status, faults } = refused(request, reply, outcome)
      return show(faults, status)
    }
    cookies.begin(reply, outcome)
    flash(reply, 'Your new password is set, and all other sessions have ended.')
    return reply.redirect('/console/account', 303)
  })

  app.get('/console/account/email', signedIn, async (request, reply) =>
    desk.show(reply, EmailPage({ frame: desk.frame(request, reply) })),
  )
  app.post('/console/account/email', signedIn, async (request, reply) => {
    const { accountId, email: present } = signedInOf(request)
    const { email: typed, present: password, code } = fieldsOf(request, 'email', 'present', 'code')
    const show = (faults: Faults, status: number) =>
      desk.show(reply, EmailPage({ frame: desk.frame(request, reply), email: typed, faults }), status)
    const email = emailOf(typed)
    if (email === null || email.toLowerCase() === present.toLowerCase()) {
      const words = email === null ? 'This is not an e-mail address.' : 'This is your e-mail address already.'
      const faults = { email: words }
      return show(faults, invalid(request, faults))
    }
    const outcome = await accounts.beginEmailChange(accountId, email, { password, code })
    if (outcome.kind !== 'ok') {
      const { status, faults } = refused(request, reply, outcome)
      return show(faults, status)
    }
    flash(reply, 'Two mails are on their way. The change is made once both addresses have confirmed it.')
    return reply.redirect('/console/account', 303)
  })

  app.get('/console/account/authenticator', signedIn, async (request, reply) =>
    desk.show(reply, AuthenticatorPage({ frame: desk.frame(request, reply) })),
  )
  app.post('/console/account/authenticator', signedIn, async (request, reply) => {
    const { present: password, code } = fieldsOf(request, 'present', 'code')
    const outcome = await accounts.beginAuthenticatorChange(signedInOf(request), { password, code })
    if (outcome.kind === 'ok') return reply.redirect('/console/enrol', 303)
    const { status, faults } = refused(request, reply, outcome)
    return desk.show(reply, AuthenticatorPage({ frame: desk.frame(request, reply), faults }), status)
  })

  app.get('/console/account/recovery-codes', signedIn, async (request, reply) =>
    desk.show(reply, NewRecoveryCodesPage({ frame: desk.frame(request, reply) })),
  )
  app.post('/console/account/recovery-codes', signedIn, async (request, reply) => {
    const { code } = fieldsOf(request, 'code')
    const outcome = await accounts.replaceRecoveryCodes(signedInOf(request), code)
    const frame = desk.frame(request, reply)
    if (outcome.kind === 'ok') {
      return desk.show(reply, RecoveryCodesPage({ frame, codes: outcome.recoveryCodes, keysNext: false }))
    }
    const { status, faults } = refused(request, reply, outcome)
    return desk.show(reply, NewRecoveryCodesPage({ frame, faults }), status)
  })

  app.post('/console/account/alerts', signedIn, async (request, reply) => {
    const on = fieldsOf(request, 'alerts').alerts === 'on'
    await accounts.setAlerts(signedInOf(request).accountId, on)
    flash(reply, on ? 'You get mail about your usage.' : 'You get no mail about your usage.')
    return reply.redirect('/console/account', 303)
  })

  app.post('/console/account/sign-out-everywhere', signedIn, async (request, reply) => {
    await accounts.endAllSessions(signedInOf(request).accountId)
    cookies.end(reply)
    flash(reply, 'You are signed out everywhere.')
    return reply.redirect('/console/sign-in', 303)
  })

  // Without a session: the links are opened wherever the mail is read.
  app.get('/console/email/:token', async (request, reply) => {
    const email = await accounts.findEmailChange(paramOf(request, 'token'))
    const frame = desk.frame(request, reply)
    if (email === null) return desk.show(reply, LinkGonePage({ frame }), 404)
    return desk.show(reply, ConfirmEmailPage({ frame, email, action: request.url }))
  })
  app.post('/console/email/:token', async (request, reply) => {
    const { kind } = await accounts.confirmEmailChange(paramOf(request, 'token'))
    const frame = desk.frame(request, reply)
    if (kind === 'gone') return desk.show(reply, LinkGonePage({ frame }), 404)
    return desk.show(reply, EmailConfirmedPage({ frame, outcome: kind }))
  })
}
