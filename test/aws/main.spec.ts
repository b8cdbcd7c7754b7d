import { expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { awsBatchMeterUsage } from '../../src/marketplace/batch-meter-usage.ts'
import { startChild } from '../support/child.ts'

const said = z.object({ url: z.url(), control: z.url(), env: z.record(z.string(), z.string()) })

test('the stand-in runs as a process of its own, is told what to play, and ends with SIGTERM', async () => {
  const script = new URL('./main.ts', import.meta.url)
  const child = startChild(script, [], { env: { ...process.env, NODE_OPTIONS: '--import tsx' } })
  onTestFinished(async () => {
    vi.unstubAllEnvs()
    if (child.process.exitCode === null) await child.end('SIGKILL')
  })
  const { control, env } = said.parse(await child.next())
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)

  const post = async (path: string, body: unknown): Promise<unknown> => {
    const response = await fetch(`${control}${path}`, { method: 'POST', body: JSON.stringify(body) })
    if (!response.ok) throw new Error(await response.text())
    return response.json()
  }
  const get = async (path: string): Promise<unknown> => (await fetch(`${control}${path}`)).json()

  await post('/_/products', { productCode: 'p', dimensions: ['d'] })
  await post('/_/subscriptions', { id: 's', awsAccountId: '1', licenceArn: 'arn:aws:license:1' })
  await post('/_/clock', { now: '2026-08-10T12:00:00.000Z' })
  await post('/_/faults', { next: [{ kind: 'lose_answer' }] })
  const identity = { kind: 'licence', awsAccountId: '1', licenceArn: 'arn:aws:license:1' } as const
  const usage = { recordId: 'r', identity, dimension: 'd', timestamp: '2026-08-10T10:00:00.000Z', quantity: 3 }
  const send = () => awsBatchMeterUsage()('us-east-1', [usage])
  expect((await send()).kind).toBe('no_answer')
  expect(await get('/_/ledger')).toMatchObject([{ hour: '2026-08-10T10:00:00.000Z', quantity: 3 }])
  expect(await send()).toMatchObject({ kind: 'answered' })
  expect(await get('/_/billed-twice')).toEqual([])
  expect(await get('/_/calls')).toMatchObject([{ outcome: 'lose_answer' }, { outcome: 'answered' }])

  await post('/_/stop', {})
  expect((await send()).kind).toBe('no_answer')
  await post('/_/start', {})
  expect((await send()).kind).toBe('answered')
  await expect(post('/_/faults', { next: [{ kind: 'none of these' }] })).rejects.toThrow('kind')

  await child.end('SIGTERM')
  expect(child.process.signalCode).toBeNull()
  expect(child.process.exitCode).toBe(0)
})
