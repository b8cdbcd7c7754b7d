/**
 * Every setting of the program: its name, what it may be, and where its value came from.
 *
 * A setting NAME is taken from the environment (NAME, or the file that NAME_FILE names), else from `.env` in the working
 * directory (again NAME or NAME_FILE), else from its default. An empty value counts as not set, so that
 * `NAME=${NAME:-}` in a compose file does what it looks like.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parse as parseDotenv } from 'dotenv'
import { z } from 'zod'
import { eventStoreAddress, publicKeys, secretKey, signingKey } from './config-values.ts'

interface Setting<T> {
  readonly schema: z.ZodType<T>
  /** Completes "NAME must be …". */
  readonly expects: string
  readonly about: string
  /** As it would be written in the environment. */
  readonly fallback?: string
  /** What `liveness config` hides: everything, or the password within an address. */
  readonly mask?: Mask
}
type Mask = 'whole' | 'password'

const withDefault = <T>(schema: z.ZodType<T>, fallback: string, expects: string, about: string): Setting<T> => ({
  schema,
  fallback,
  expects,
  about,
})

const optional = <T>(schema: z.ZodType<T>, expects: string, about: string, mask?: Mask): Setting<T | undefined> => ({
  schema,
  expects,
  about,
  ...(mask === undefined ? {} : { mask }),
})

const text = z.string()
const path = text.transform((value) => resolve(value))
const onOff = z.enum(['on', 'off']).transform((value) => value === 'on')
const whole = (min: number, max = Number.MAX_SAFE_INTEGER) =>
  text.regex(/^\d+$/).transform(Number).pipe(z.int().min(min).max(max))
const address = (...schemes: string[]) =>
  text.refine((value) => schemes.some((scheme) => value.startsWith(`${scheme}://`)) && URL.canParse(value))
const withHost = (value: string) => new URL(value).hostname !== ''
/** Every link of the console begins at the root. */
const withoutPath = (value: string) => /^https?:\/\/[^/?#@]+\/*$/.test(value)
const hostAndPort = text.regex(/^[^\s:/]+:\d+$/).refine((value) => {
  const port = Number(value.split(':')[1])
  return port >= 1 && port <= 65_535
})
const decimal = (min: number, max: number) =>
  text
    .regex(/^\d*\.?\d+$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max))
const list = <T>(item: z.ZodType<T, string>) =>
  text.transform((value) => value.split(',').map((part) => part.trim())).pipe(z.array(item).min(1))

export const roleNames = ['api', 'projections', 'relay', 'metering'] as const
export type Role = (typeof roleNames)[number]
export const rolesSchema = list(z.enum(roleNames))

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

const trustProxy = z.union([
  z.literal('off').transform(() => false),
  whole(1, 10),
  list(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6(), z.enum(['loopback', 'linklocal', 'uniquelocal'])])),
])

const settings = {
  HOST: withDefault(text, '127.0.0.1', 'a host name or address', 'Address to listen on'),
  PORT: withDefault(whole(0, 65_535), '8080', 'a port number from 0 to 65535 (0: any free one)', 'Port to listen on'),
  OPERATIONS_PORT: optional(
    whole(0, 65_535),
    'a port number from 0 to 65535 (0: any free one)',
    'Port of /ready, /metrics and /v1/health for operators, in a process of any role; not set: only with the API',
  ),
  PUBLIC_URL: optional(
    address('http', 'https').refine(withoutPath),
    'an http:// or https:// address without a path',
    'Address the outside world uses; not set: http://localhost:PORT',
  ),
  TRUST_PROXY: withDefault(
    trustProxy,
    'off',
    'off, a number of proxies (1 to 10), or a comma-separated list of addresses and CIDR ranges',
    'Proxies whose X-Forwarded-For is believed',
  ),
  DATA_DIR: withDefault(path, './data', 'a folder', 'Everything the embedded defaults keep'),
  MODELS_DIR: optional(path, 'a folder', 'Where weights are looked up first, before models/ of the package'),
  MODEL_SET: optional(
    text,
    'a set of models/manifest.json',
    'Detector and classifiers to run; not set: the best set whose weights are here',
  ),
  SPOOF_THRESHOLD: withDefault(decimal(0, 1), '0.15', 'a number from 0 to 1', 'isFakeFace is true above it'),
  EVENTSTORE_URL: optional(
    eventStoreAddress,
    'an esdb:// or esdb+discover:// address',
    'EventStoreDB or KurrentDB; not set: the embedded event store',
    'password',
  ),
  DATABASE_URL: optional(
    address('postgres', 'postgresql'),
    'a postgres:// address',
    'PostgreSQL; not set: the embedded one',
    'password',
  ),
  KAFKA_BROKERS: optional(
    list(hostAndPort),
    'a comma-separated list of host:port',
    'Kafka; not set: metering reads the event store directly',
  ),
  KAFKA_TLS: withDefault(onOff, 'off', 'on or off', 'TLS to the brokers'),
  KAFKA_TLS_CA: optional(
    text.regex(/-----BEGIN CERTIFICATE-----/),
    'certificates as PEM (KAFKA_TLS_CA_FILE reads a file)',
    "Authority that signed the brokers' certificates; not set: those that Node trusts",
  ),
  KAFKA_SASL_MECHANISM: optional(
    z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
    'plain, scram-sha-256 or scram-sha-512',
    'How to sign in to Kafka; not set: no sign-in',
  ),
  KAFKA_SASL_USERNAME: optional(text, 'a user name', 'Kafka user'),
  KAFKA_SASL_PASSWORD: optional(text, 'a password', 'Kafka password', 'whole'),
  SMTP_URL: optional(
    address('smtp', 'smtps').refine(withHost),
    'an smtp:// or smtps:// address of a host',
    'Mail server; not set: an outbox folder in DATA_DIR',
    'password',
  ),
  MAIL_FROM: withDefault(
    text.regex(/@/),
    'Liveness Detection API <no-reply@localhost>',
    'an e-mail address, with or without a name',
    'Sender of mail',
  ),
  ROLES: optional(
    rolesSchema,
    `a comma-separated list of ${roleNames.join(', ')}`,
    'What this process does; not set: every role this version has',
  ),
  SECRETS_KEY: optional(
    secretKey,
    '32 random bytes as Base64 (openssl rand -base64 32)',
    'Key of the HMACs over idempotency keys, and of encrypted secrets; generated into DATA_DIR on embedded defaults',
    'whole',
  ),
  SECRETS_KEY_PREVIOUS: optional(
    secretKey,
    '32 bytes as Base64: the SECRETS_KEY of before',
    'While SECRETS_KEY is being changed: the one before it, which is accepted too',
    'whole',
  ),
  AUDIT_SIGNING_KEY: optional(
    signingKey,
    'an Ed25519 private key as PEM (openssl genpkey -algorithm ed25519)',
    'Signs audit anchors and exports; generated into DATA_DIR on embedded defaults',
    'whole',
  ),
  AUDIT_OLDER_PUBLIC_KEYS: optional(
    publicKeys,
    'Ed25519 public keys as PEM, one behind the other (`liveness audit public-key` prints one)',
    'Public keys of before AUDIT_SIGNING_KEY was changed: anchors that they verify stay good',
  ),
  ANCHOR_DIR: optional(path, 'a folder', 'Where audit anchors are written; not set: DATA_DIR/anchors'),
  RATE_LIMIT: withDefault(whole(1), '100', 'a whole number from 1', 'Requests a second of one API key, in one process'),
  METERING_SUBMIT: withDefault(onOff, 'off', 'on or off', 'Send metering records to AWS Marketplace'),
  METERING_GRACE: withDefault(
    whole(60, 3_600),
    '600',
    'a number of seconds from 60 to 3600',
    'Seconds an hour stays open for late calls',
  ),
  METERING_WINDOW_HOURS: withDefault(
    whole(2, 24),
    '24',
    'a number of hours from 2 to 24',
    'Age up to which AWS takes a record',
  ),
  METERING_MONTH_CLOSE_HOUR: withDefault(
    whole(1, 23),
    '6',
    'an hour from 1 to 23',
    'UTC hour of the 1st until which AWS takes records of the month before',
  ),
  METERING_CARRY_FORWARD: withDefault(onOff, 'on', 'on or off', 'Carry a record past its deadline into a later hour'),
  METERING_HEARTBEAT: withDefault(onOff, 'off', 'on or off', 'Send zero-quantity records for idle hours'),
  MARKETPLACE_REGION: withDefault(
    text.regex(/^[a-z]{2}(-[a-z]+)+-\d$/),
    'us-east-1',
    'an AWS region',
    'Region of AWS Marketplace',
  ),
  MARKETPLACE_PRODUCT_CODE: optional(text, 'a product code', 'Product code of a listing older than June 2026'),
  MARKETPLACE_QUEUE_URL: optional(
    address('https', 'http'),
    'the https:// address of an SQS queue',
    'Where AWS Marketplace announces subscriptions',
  ),
  LOG_LEVEL: withDefault(z.enum(logLevels), 'info', `one of ${logLevels.join(', ')}`, 'Least level that is logged'),
} satisfies Record<string, Setting<unknown>>

export type SettingName = keyof typeof settings
export const settingNames = Object.keys(settings) as SettingName[]

/** The values, parsed: numbers, lists, keys. Folders are absolute. */
export type Config = {
  readonly [N in SettingName]: (typeof settings)[N] extends Setting<infer T> ? T : never
}

/** One or more settings are wrong; the message names each, says where it came from and what is expected. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

export interface LoadedConfig {
  readonly config: Config
  /** Every setting as it was found, with secrets masked, for people to read. */
  readonly report: readonly ReportLine[]
}

export interface ReportLine {
  readonly name: SettingName
  /** null: not set, and without a default. */
  readonly value: string | null
  readonly from: string
  readonly about: string
}

type Source = Readonly<Record<string, string | undefined>>

/**
 * Reads and checks every setting.
 * @param dotenvFile null: none is read
 * @throws ConfigError
 */
export function loadConfig(environment: Source = process.env, dotenvFile: string | null = '.env'): LoadedConfig {
  const sources: [string, Source][] = [
    ['environment', environment],
    ['.env', dotenvFile === null ? {} : readDotenv(dotenvFile)],
  ]
  const wrong: string[] = []
  const values: Record<string, unknown> = {}
  const report: ReportLine[] = []
  for (const name of settingNames) {
    const { schema, expects, fallback, mask, about }: Setting<unknown> = settings[name]
    try {
      const found = find(name, sources) ?? { value: fallback, from: 'default' }
      report.push({ name, value: masked(found.value, mask), from: found.from, about })
      if (found.value === undefined) continue
      const parsed = schema.safeParse(found.value)
      if (parsed.success) values[name] = parsed.data
      else {
        const is = mask === undefined ? `is "${found.value}"` : 'is something else'
        wrong.push(`${name} must be ${expects}, but ${is} (from ${found.from}).`)
      }
    } catch (error) {
      wrong.push(error instanceof Error ? error.message : String(error))
    }
  }
  if (wrong.length > 0) throw new ConfigError(wrong.join('\n'))
  return { config: values as Config, report }
}

function find(name: string, sources: [string, Source][]): { value: string; from: string } | undefined {
  for (const [from, source] of sources) {
    const value = source[name] || undefined
    const file = source[`${name}_FILE`] || undefined
    if (value !== undefined && file !== undefined) {
      throw new ConfigError(`${name} and ${name}_FILE must not both be set (in ${from}).`)
    }
    if (value !== undefined) return { value, from }
    if (file === undefined) continue
    try {
      return { value: readFileSync(file, 'utf8').trim(), from: `file ${file}` }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new ConfigError(`${name}_FILE must name a file that can be read (from ${from}): ${reason}`)
    }
  }
  return undefined
}

function readDotenv(file: string): Source {
  try {
    return parseDotenv(readFileSync(file))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {}
    throw new ConfigError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function masked(value: string | undefined, mask: Mask | undefined): string | null {
  if (value === undefined) return null
  if (mask === 'whole') return '***'
  return mask === undefined ? value : withoutPassword(value)
}

/** An address with its password hidden. */
export const withoutPassword = (address: string): string =>
  address.replace(/(:\/\/[^/@]*:).*@/, '$1***@').replace(/([?&]password=)[^&]*/gi, '$1***')
