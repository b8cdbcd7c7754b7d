import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../src/config.ts'
import { kafkaSettings } from '../../src/relay/topic.ts'

const settingsOf = (environment: Record<string, string>) =>
  kafkaSettings(loadConfig(environment, '/nowhere/.env').config)
const brokers = { KAFKA_BROKERS: 'one:9092, two:9093' }

test('without KAFKA_BROKERS there is no Kafka', () => {
  expect(settingsOf({})).toBeNull()
})
test('brokers alone are plain; KAFKA_TLS encrypts', () => {
  expect(settingsOf(brokers)).toEqual({ brokers: ['one:9092', 'two:9093'], ssl: false })
  expect(settingsOf({ ...brokers, KAFKA_TLS: 'on' })).toMatchObject({ ssl: true })
})
test.each(['plain', 'scram-sha-256', 'scram-sha-512'])('%s signs in with user and password', (mechanism) => {
  const sign = { KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_USERNAME: 'relay', KAFKA_SASL_PASSWORD: 'secret' }
  expect(settingsOf({ ...brokers, ...sign })).toMatchObject({
    sasl: { mechanism, username: 'relay', password: 'secret' },
  })
})
test('half a sign-in is refused', () => {
  const half = { KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'relay' }
  expect(() => settingsOf({ ...brokers, ...half })).toThrow(ConfigError)
})
