/**
 * Roles that have stopped for good. A process with an API goes on serving, and GET /ready says what is missing; another
 * ends, for whoever supervises it.
 */
import type { Logger } from 'pino'
import type { Role } from '../config.ts'
import { roleLog } from '../http/logging.ts'

export interface Failures {
  /** Resolves with the reason for which the process must end. */
  readonly failed: Promise<Error>
  /** Ends the process, whatever its roles. */
  readonly fail: (error: Error) => void
  /** A role has stopped for good: an alarm of the role's name. */
  readonly roleStopped: (role: StoppingRole, error: Error) => void
  /** What each role that has stopped said. */
  readonly stopped: () => readonly string[]
}

/** Roles that a log, a topic or tables of another kind than they know bring to an end. */
export type StoppingRole = Exclude<Role, 'api'>

const whoHas: Readonly<Record<StoppingRole, string>> = {
  projections: 'The projections have',
  relay: 'The relay has',
  metering: 'Metering has',
}

/** @param log of the process */
export function createFailures(roles: readonly Role[], log: Logger): Failures {
  const stopped = new Map<StoppingRole, string>()
  let fail = (_: Error) => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  return {
    failed,
    fail,
    roleStopped(role, error) {
      const said = `${whoHas[role]} stopped for good: ${error.message}`
      stopped.set(role, said)
      roleLog(log, role).fatal({ err: error, alarm: role }, said)
      if (!roles.includes('api')) fail(error)
    },
    stopped: () => [...stopped.values()],
  }
}
