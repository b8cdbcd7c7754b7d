import { expect, test } from 'vitest'
import { chooseRoles } from '../../src/app/roles.ts'
import { ConfigError, loadConfig } from '../../src/config.ts'

test('roles are split only where both servers are somebody else’s', () => {
  const config = (more: Record<string, string>) => loadConfig(more, '/nowhere').config
  const outside = { DATABASE_URL: 'postgres://db', EVENTSTORE_URL: 'esdb://store' }
  expect(() => chooseRoles(config({ ROLES: 'api' }))).toThrow(ConfigError)
  expect(() => chooseRoles(config({ ROLES: 'api' }))).toThrow(
    'ROLES leaves out projections and metering. Another process can have them only on servers of your own: set DATABASE_URL',
  )
  expect(() => chooseRoles(config({ ROLES: 'api,projections' }))).toThrow(
    'ROLES leaves out metering. Another process can have it only on',
  )
  expect(() => chooseRoles(config({ DATABASE_URL: outside.DATABASE_URL, ROLES: 'projections' }))).toThrow(/^ROLES/)
  expect(chooseRoles(config({ ROLES: 'metering,api,projections' }))).toEqual(['metering', 'api', 'projections'])
  expect(chooseRoles(config({ ...outside, ROLES: 'api,api' }))).toEqual(['api'])
})

test('without Kafka nobody relays, and asking for it is refused', () => {
  const config = (more: Record<string, string>) => loadConfig(more, '/nowhere').config
  expect(chooseRoles(config({}))).toEqual(['api', 'projections', 'metering'])
  expect(chooseRoles(config({ KAFKA_BROKERS: 'kafka:9092' }))).toEqual(['api', 'projections', 'relay', 'metering'])
  const outside = { DATABASE_URL: 'postgres://db', EVENTSTORE_URL: 'esdb://store' }
  expect(() => chooseRoles(config({ ...outside, ROLES: 'relay' }))).toThrow(
    'ROLES names relay, which needs KAFKA_BROKERS',
  )
})
