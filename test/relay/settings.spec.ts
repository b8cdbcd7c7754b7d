import { expect, test } from 'vitest'
import { ConfigError, loadConfig } from '../../src/config.ts'
import { kafkaSettings } from '../../src/relay/kafka-settings.ts'

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
test('a sign-in without its mechanism is refused by name', () => {
  const [user, password] = [{ KAFKA_SASL_USERNAME: 'relay' }, { KAFKA_SASL_PASSWORD: 'secret' }]
  expect(() => settingsOf({ ...brokers, ...user })).toThrow('KAFKA_SASL_USERNAME needs KAFKA_SASL_MECHANISM too')
  expect(() => settingsOf({ ...brokers, ...user, ...password })).toThrow(
    'KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD need KAFKA_SASL_MECHANISM too',
  )
})
test('what says how to reach Kafka is refused without KAFKA_BROKERS', () => {
  expect(() => settingsOf({ KAFKA_TLS: 'on' })).toThrow('KAFKA_TLS is set, but KAFKA_BROKERS is not')
  expect(() => settingsOf({ KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'relay' })).toThrow(
    'KAFKA_SASL_MECHANISM and KAFKA_SASL_USERNAME are set, but KAFKA_BROKERS is not',
  )
  expect(settingsOf({ KAFKA_TLS: 'off', KAFKA_SASL_MECHANISM: '' })).toBeNull()
})
