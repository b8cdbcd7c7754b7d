import { expect, test } from 'vitest'
import { checkBody, createWorld } from './harness.ts'
import { checkHead, openSocket } from './sockets.ts'

const body = JSON.stringify(checkBody)

test('pipelined checks whose client goes away before their appends are billed to nobody, and hold up no shutdown', async () => {
  const world = await createWorld()
  const { listen, drainAndClose } = await world.instance()
  const { port } = await listen()
  let letGo = () => {}
  const held = new Promise<void>((resolve) => {
    letGo = resolve
  })
  const verdict = await world.infer(new Uint8Array(), 'jpeg')
  let inferring = 0
  world.infer = async () => {
    inferring += 1
    await held
    return verdict
  }
  const { socket, closed } = openSocket(port)
  const request = checkHead(world.primary.secret, body.length) + body
  socket.write(request + request)
  await expect.poll(() => inferring, { timeout: 10_000 }).toBe(2)
  socket.resetAndDestroy()
  await closed
  const noticed = () => world.logged.filter((line) => line.includes('closed before it was answered')).length
  await expect.poll(noticed, { timeout: 10_000 }).toBe(2)
  letGo()
  const before = performance.now()
  await drainAndClose(5_000)
  // Sooner than the drain is given up.
  expect(performance.now() - before).toBeLessThan(4_500)
  expect(world.eventsOf('DetectionSucceeded')).toHaveLength(0)
})
