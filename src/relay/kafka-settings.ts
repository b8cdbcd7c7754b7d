/** How Kafka is reached. Apart from its client, which is loaded only where there is a Kafka. */
import type { KafkaConfig } from 'kafkajs'
import { type Config, ConfigError } from '../config.ts'
import { listed } from '../format.ts'

export type KafkaSettings = Pick<KafkaConfig, 'brokers' | 'ssl' | 'sasl'>

/** Those that say nothing unless others are set too. */
const dependent = [
  'KAFKA_TLS',
  'KAFKA_TLS_CA',
  'KAFKA_SASL_MECHANISM',
  'KAFKA_SASL_USERNAME',
  'KAFKA_SASL_PASSWORD',
] as const

/**
 * How to reach Kafka, or null when KAFKA_BROKERS is not set.
 * @throws ConfigError for half a sign-in, and for settings of Kafka's that would be passed over in silence
 */
export function kafkaSettings(config: Config): KafkaSettings | null {
  const { KAFKA_BROKERS: brokers, KAFKA_TLS: tls, KAFKA_TLS_CA: ca, KAFKA_SASL_MECHANISM: mechanism } = config
  const { KAFKA_SASL_USERNAME: username, KAFKA_SASL_PASSWORD: password } = config
  const given = dependent.filter((name) => config[name] !== undefined && config[name] !== false)
  if (brokers === undefined) {
    if (given.length === 0) return null
    const are = given.length === 1 ? 'is' : 'are'
    throw new ConfigError(`${listed(given)} ${are} set, but KAFKA_BROKERS is not: without it there is no Kafka.`)
  }
  if (ca !== undefined && !tls) throw new ConfigError('KAFKA_TLS_CA is set, but KAFKA_TLS is off.')
  const ssl = ca === undefined ? tls : { ca }
  if (mechanism === undefined) {
    const signIn = given.filter((name) => name.startsWith('KAFKA_SASL_'))
    if (signIn.length === 0) return { brokers, ssl }
    const need = signIn.length === 1 ? 'needs' : 'need'
    throw new ConfigError(`${listed(signIn)} ${need} KAFKA_SASL_MECHANISM too: without it nobody signs in.`)
  }
  if (username === undefined || password === undefined) {
    throw new ConfigError('KAFKA_SASL_MECHANISM needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD too.')
  }
  // Written out: kafkajs types each mechanism apart.
  switch (mechanism) {
    case 'plain':
      return { brokers, ssl, sasl: { mechanism, username, password } }
    case 'scram-sha-256':
      return { brokers, ssl, sasl: { mechanism, username, password } }
    case 'scram-sha-512':
      return { brokers, ssl, sasl: { mechanism, username, password } }
  }
}
