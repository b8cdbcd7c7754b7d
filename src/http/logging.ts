/** The program's logger: structured, and without secrets, whatever an error message or a URL may carry. */
import { hostname } from 'node:os'
import pino from 'pino'

const apiKey = /lc_[0-9A-Za-z]{29}/g
const longBase64 = /[0-9A-Za-z+/]{256,}={0,2}/g

/** Alarms by name, for every logger that createLogger made. */
const counts = new WeakMap<pino.Logger, Map<string, number>>()

/** How often each alarm was logged by this logger and its children; none for a logger that was made elsewhere. */
export const alarmsOf = (log: pino.Logger): ReadonlyMap<string, number> => counts.get(log) ?? new Map()

/** Which process a line is of: unique among those that run at a time, also several on one host. */
export const instance = `${hostname()}:${process.pid}`

/**
 * Every line is a JSON object: `level`, `time`, `instance`, `msg`, the `role` that speaks (roleLog), and `requestId`
 * where it speaks of a request or of an event that a request caused.
 *
 * Nothing here logs headers or bodies. As the last guard, a line about to be written loses everything that looks like
 * an API key, or like the Base64 of an image.
 */
export function createLogger(level: string, destination?: pino.DestinationStream): pino.Logger {
  const alarms = new Map<string, number>()
  const options: pino.LoggerOptions = {
    level,
    base: { instance },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: ['headers', 'body', '*.headers', '*.body', 'image', '*.image', 'password', '*.password'],
      censor: '[redacted]',
    },
    hooks: {
      streamWrite: (line) => line.replace(apiKey, 'lc_[redacted]').replace(longBase64, '[redacted]'),
      logMethod(args, method) {
        const fields: unknown = args[0]
        if (typeof fields === 'object' && fields !== null && 'alarm' in fields && typeof fields.alarm === 'string') {
          alarms.set(fields.alarm, (alarms.get(fields.alarm) ?? 0) + 1)
        }
        method.apply(this, args)
      },
    },
  }
  const log = destination === undefined ? pino(options) : pino(options, destination)
  counts.set(log, alarms)
  return log
}

/** The log of one role, or of the whole process, whose role is the list of those it has. */
export const roleLog = (log: pino.Logger, role: string | readonly string[]): pino.Logger =>
  log.child({ role: typeof role === 'string' ? role : role.join(',') })
