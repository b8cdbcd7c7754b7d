/** Everything by which somebody comes in, proves who they are, and keeps their account. */
import type { FastifyInstance } from 'fastify'
import type { ConsoleDependencies } from '../context.ts'
import type { SessionCookies } from '../session.ts'
import { registerAccount } from './account-routes.ts'
import { registerActivation } from './activation-routes.ts'
import { createDesk } from './desk.ts'
import { registerReset } from './reset-routes.ts'
import { registerSignIn } from './sign-in-routes.ts'

export function registerIdentity(app: FastifyInstance, deps: ConsoleDependencies, cookies: SessionCookies): void {
  const desk = createDesk(deps)
  registerSignIn(app, deps, cookies, desk)
  registerActivation(app, deps, cookies, desk)
  registerReset(app, deps, desk)
  registerAccount(app, deps, cookies, desk)
}
