/** Which roles this version has, and which settings it would be wrong to pass over in silence. */
import { type Config, ConfigError, type ReportLine, type Role, type SettingName } from '../config.ts'

/** The roles that this version has. The relay and metering come with the metering of overage. */
const available: readonly Role[] = ['api', 'projections']

/**
 * The roles to run: those asked for, or all there are.
 * @throws ConfigError when one is asked for that this version does not have
 */
export function chooseRoles(asked: readonly Role[] | undefined): readonly Role[] {
  if (asked === undefined) return available
  const missing = asked.filter((role) => !available.includes(role))
  if (missing.length > 0) {
    throw new ConfigError(`ROLES: this version has no role ${missing.join(', ')}, only ${available.join(', ')}.`)
  }
  return [...new Set(asked)]
}

/**
 * Refuses to split the roles where the servers are embedded: they lie in this process's data directory, which no other
 * process can share, so the roles left out would run nowhere.
 * @throws ConfigError
 */
export function refuseHalfAStack({ DATABASE_URL, EVENTSTORE_URL }: Config, roles: readonly Role[]): void {
  const left = available.filter((role) => !roles.includes(role))
  if (left.length === 0 || (DATABASE_URL !== undefined && EVENTSTORE_URL !== undefined)) return
  throw new ConfigError(
    `ROLES leaves out ${left.join(', ')}, which needs DATABASE_URL and EVENTSTORE_URL: on the embedded servers one ` +
      'process has every role.',
  )
}

const withoutEffect: readonly SettingName[] = [
  'KAFKA_BROKERS',
  'KAFKA_TLS',
  'KAFKA_SASL_MECHANISM',
  'KAFKA_SASL_USERNAME',
  'KAFKA_SASL_PASSWORD',
  'SMTP_URL',
  'MAIL_FROM',
  'ANCHOR_DIR',
  'METERING_GRACE',
  'METERING_WINDOW_HOURS',
  'METERING_MONTH_CLOSE_HOUR',
  'METERING_CARRY_FORWARD',
  'METERING_HEARTBEAT',
  'MARKETPLACE_REGION',
  'MARKETPLACE_PRODUCT_CODE',
  'MARKETPLACE_QUEUE_URL',
]

/** The settings somebody made that this version checks and then does nothing with. Said at every start. */
export function settingsWithoutEffect(report: readonly ReportLine[]): SettingName[] {
  return report.flatMap(({ name, from }) => (from !== 'default' && withoutEffect.includes(name) ? [name] : []))
}

/**
 * Refuses a setting whose neglect would cost money unseen.
 * @throws ConfigError
 */
export function refuseWhatIsMissing(config: Config): void {
  if (config.METERING_SUBMIT) {
    throw new ConfigError('METERING_SUBMIT is on, but this version submits nothing to AWS Marketplace: set it to off.')
  }
}
