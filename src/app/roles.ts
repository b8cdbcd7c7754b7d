/** Which roles a process has, and which settings it would be wrong to pass over in silence. */
import { type Config, ConfigError, type Role, roleNames } from '../config.ts'
import { listed } from '../format.ts'

type Split = Pick<Config, 'ROLES' | 'KAFKA_BROKERS' | 'DATABASE_URL' | 'EVENTSTORE_URL'>

/** The roles there is work for: without Kafka nobody relays, and metering reads the event store directly. */
const needed = ({ KAFKA_BROKERS }: Pick<Config, 'KAFKA_BROKERS'>): readonly Role[] =>
  roleNames.filter((role) => role !== 'relay' || KAFKA_BROKERS !== undefined)

/**
 * The roles to run: those asked for, or all that are needed.
 * @throws ConfigError when one is asked for that cannot run, or when roles are left out where no other process could
 *   have them: embedded servers lie in this process's data directory, which it shares with nobody
 */
export function chooseRoles(config: Split): readonly Role[] {
  const { ROLES: asked, KAFKA_BROKERS, DATABASE_URL, EVENTSTORE_URL } = config
  if (asked === undefined) return needed(config)
  if (asked.includes('relay') && KAFKA_BROKERS === undefined) {
    throw new ConfigError('ROLES names relay, which needs KAFKA_BROKERS: without Kafka, metering reads the log itself.')
  }
  const left = needed(config).filter((role) => !asked.includes(role))
  if (left.length > 0 && (DATABASE_URL === undefined || EVENTSTORE_URL === undefined)) {
    throw new ConfigError(
      `ROLES leaves out ${listed(left)}. Another process can have ${left.length === 1 ? 'it' : 'them'} only on servers of ` +
        'your own: set DATABASE_URL and EVENTSTORE_URL, or leave ROLES unset, for on the embedded servers one process ' +
        'has every role.',
    )
  }
  return [...new Set(asked)]
}
