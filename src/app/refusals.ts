/**
 * What waiting does not cure, said at the start by the name of the setting: a certificate that cannot be trusted, TLS
 * that is not offered, a password that is refused. A server that is merely away is no fault of a setting: the start goes on, and waits.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { type Config, ConfigError } from '../config.ts'
import type { EventStore } from '../eventstore/store.ts'
import type { Mail } from '../mail/mail.ts'
import { type KafkaSettings, kafkaSettings } from '../relay/kafka-settings.ts'

const untrusted =
  /self[- ]signed certificate|unable to (verify the first|get (local )?issuer) certificate|certificate (has expired|is not yet valid)|Hostname\/IP does not match|does not support SSL/i
const refused =
  /password authentication failed|no pg_hba\.conf entry|SASL .*(fail|invalid)|Authentication failed|AccessDenied|access (to .* )?denied|UNAUTHENTICATED|PERMISSION_DENIED|Invalid login|authentication credentials|EAUTH/i
const unencrypted = /Error upgrading connection with STARTTLS|does not support required STARTTLS/i

/** In words, or null for what may pass by itself. Looks through causes; addresses and passwords stay out of it. */
export function refusalOf(error: unknown): string | null {
  const said = wordsOf(error)
  const [fault] = untrusted.exec(said) ?? []
  if (fault !== undefined) return `the server's certificate is not trusted (${fault})`
  if (unencrypted.test(said)) return 'the server offers no TLS, which the address requires'
  return refused.test(said) ? 'the server refuses the user name or the password' : null
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as { code?: unknown }
  const parts = error instanceof AggregateError ? error.errors.map(wordsOf) : []
  return [error.name, code, error.message, ...parts, error.cause === undefined ? '' : wordsOf(error.cause)].join(' ')
}

const advice: Readonly<Record<string, string>> = {
  DATABASE_URL: 'sslmode=verify-full with sslrootcert=FILE names the authority in the address.',
  EVENTSTORE_URL: 'tls=true with tlsCAFile=FILE names the authority in the address; the user must be in $admins.',
  KAFKA_BROKERS: 'KAFKA_TLS_CA holds the authority, KAFKA_SASL_… the sign-in.',
  SMTP_URL:
    'requireTLS=true in the address asks for STARTTLS, user and password stand there too; NODE_EXTRA_CA_CERTS=FILE adds ' +
    'an authority.',
}

/** Rejects as `work` does, with a sentence where that is a refusal. @throws ConfigError */
export async function naming<T>(setting: keyof typeof advice & string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const refusal = refusalOf(error)
    if (refusal === null) throw error
    throw new ConfigError(`${setting}: ${refusal}. ${advice[setting]}`, { cause: error })
  }
}

/** Milliseconds for one look; a server that says nothing for longer is away. */
const lookMs = 5_000

/** One look at each server besides Postgres that the settings name. @throws ConfigError for a refusal, and only for one */
export async function refuseWrongAddresses(
  config: Config,
  store: EventStore,
  mail: Pick<Mail, 'verify'>,
): Promise<void> {
  const kafka = kafkaSettings(config)
  const looks = [
    config.EVENTSTORE_URL === undefined ? undefined : naming('EVENTSTORE_URL', firstEvent(store)),
    kafka === null ? undefined : naming('KAFKA_BROKERS', anyBroker(kafka)),
    config.SMTP_URL === undefined ? undefined : naming('SMTP_URL', mail.verify()),
  ]
  const over = new AbortController()
  const bounded = looks.map((look) => Promise.race([look, pause(lookMs, undefined, { signal: over.signal })]))
  const ends = await Promise.allSettled(bounded)
  over.abort()
  for (const look of ends) {
    if (look.status === 'rejected' && look.reason instanceof ConfigError) throw look.reason
  }
}

async function anyBroker(kafka: KafkaSettings): Promise<void> {
  const { askBrokers } = await import('../relay/topic.ts') // kafkajs is loaded only where there is a Kafka
  await askBrokers(kafka, lookMs)
}

/** Reads $all, as the projections will. */
async function firstEvent(store: EventStore): Promise<void> {
  for await (const _ of store.readAll({ prefixes: [''] })) return
}
