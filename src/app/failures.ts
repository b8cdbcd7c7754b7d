/**
 * Roles that have stopped for good. A process with an API goes on serving, and GET /ready says what is missing; another
 * has nothing left to do and ends.
 */
import type { Logger } from 'pino'
import type { Role } from '../config.ts'
import { roleLog } from '../http/logging.ts'

export interface Failures {
  /** Resolves with the reason for which the process has nothing left to do. */
  readonly failed: Promise<Error>
  /** Ends the process, whatever its roles. */
  readonly fail: (error: Error) => void
  /** A role has stopped for good: an alarm. */
  readonly roleStopped: (role: 'projections' | 'metering', what: string, error: Error) => void
  /** What the last role to stop said; undefined while none has. */
  readonly stopped: () => string | undefined
}

/** @param log of the process */
export function createFailures(roles: readonly Role[], log: Logger): Failures {
  let stopped: string | undefined
  let fail = (_: Error) => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  return {
    failed,
    fail,
    roleStopped(role, what, error) {
      stopped = `${what} stopped for good: ${error.message}`
      roleLog(log, role).fatal({ err: error, alarm: role }, stopped)
      if (!roles.includes('api')) fail(error)
    },
    stopped: () => stopped,
  }
}
