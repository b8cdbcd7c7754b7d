import { describe, expect, test } from 'vitest'
import { counters, initialState, openMonth } from '../../src/commands/state.ts'
import { customerId, detection, given, history, keys, newKey, registration, uuid } from '../support/given.ts'

const may = '2026-05-04T12:00:00.000Z'
const later = '2026-05-04T12:00:01.000Z'
const june = '2026-06-01T00:00:00.000Z'

describe('registration', () => {
  test('is followed at once by the opener of its month and both keys', () => {
    given(initialState)
      .when(registration(), may)
      .records(
        { type: 'CustomerRegistered', data: { plan: 'standard', monthlyLimit: 5_000, monthlyFee: '750' } },
        { type: 'MonthlyCreditsGranted', data: { yearMonth: '2026-05', monthlyLimit: 5_000, keys: {} } },
        { type: 'ApiKeyIssued', data: { slot: 'primary', ...keys.primary } },
        { type: 'ApiKeyIssued', data: { slot: 'secondary', ...keys.secondary } },
      )
  })
  test('happens once', () => {
    given(history([may, registration()]))
      .when(registration(), later)
      .refused('already_registered')
  })
  test('an individual contract replaces the plan’s credits', () => {
    const state = history([may, registration({ plan: 'enterprise', monthlyLimit: 250_000 })])
    expect(counters(state).remainingCalls).toBe(250_000)
  })
  test('commands for nobody are refused', () => {
    given(initialState).when(detection(), may).refused('no_such_customer')
  })
})

describe('detections', () => {
  const twoCredits = (hardCap: boolean) => history([may, registration({ monthlyLimit: 2, hardCap })])

  test('use credits first, numbered from 1, and tell the price they were decided with', () => {
    given(twoCredits(false))
      .when(detection(), later)
      .records({
        type: 'DetectionSucceeded',
        data: { sequence: 1, funding: 'credit', yearMonth: '2026-05', plan: 'standard', overageUnitPrice: '0.15' },
      })
  })
  test('past the limit become overage when the hard cap is OFF', () => {
    const used = history([may, registration({ monthlyLimit: 1 })], [may, detection()])
    const state = given(used)
      .when(detection(), later)
      .records({ type: 'DetectionSucceeded', data: { sequence: 2, funding: 'overage' } })
    expect(counters(state)).toEqual({ remainingCalls: 0, overLimitCalls: 1, totalCalls: 2 })
  })
  test.each([
    ['the hard cap is ON', registration({ monthlyLimit: 1, hardCap: true })],
    ['the plan is free', registration({ plan: 'free', monthlyLimit: 1, hardCap: false })],
  ])('past the limit are refused when %s', (_, register) => {
    given(history([may, register], [may, detection()]))
      .when(detection(), later)
      .refused('quota_exceeded')
  })
  test('past the limit are refused after the subscription ended, though the hard cap is OFF', () => {
    const ended = history(
      [may, registration({ monthlyLimit: 1 })],
      [may, detection()],
      [may, { type: 'EndSubscription', licence: { kind: 'none' }, reason: 'cancelled' }],
    )
    given(ended).when(detection(), later).refused('quota_exceeded')
  })
  test('are refused with a key that was regenerated, deactivated or has expired, or of a deactivated customer', () => {
    const old = { keyId: keys.primary.keyId }
    const base = [may, registration()] as const
    const expiring = { type: 'RegenerateApiKey', slot: 'secondary', key: newKey(), expiresAt: later } as const
    given(history(base, [may, { type: 'RegenerateApiKey', slot: 'primary', key: newKey() }]))
      .when(detection(old), later)
      .refused('invalid_api_key')
    given(history(base, [may, { type: 'DeactivateApiKey', slot: 'primary', reason: 'lost' }]))
      .when(detection(old), later)
      .refused('invalid_api_key')
    given(history(base, [may, expiring]))
      .when(detection({ keyId: expiring.key.keyId }), later)
      .refused('invalid_api_key')
    given(history(base, [may, { type: 'DeactivateCustomer', reason: 'closed' }]))
      .when(detection(old), later)
      .refused('invalid_api_key')
  })
  test('a voided call gives back what it took, and its number is not used again', () => {
    const id = uuid()
    const used = history([may, registration({ monthlyLimit: 1, hardCap: true })], [may, detection({ detectionId: id })])
    const voided = given(used)
      .when(
        {
          type: 'VoidDetections',
          detections: [{ detectionId: id, revision: 4, yearMonth: '2026-05', funding: 'credit', bucketKey: 'b' }],
        },
        later,
      )
      .records({ type: 'DetectionVoided', data: { detectionId: id, revision: 4 } })
    given(voided)
      .when(detection(), later)
      .records({ type: 'DetectionSucceeded', data: { sequence: 2, funding: 'credit' } })
  })
  test('a void of an earlier month takes nothing from this one', () => {
    const state = history([may, registration({ monthlyLimit: 5 })], [may, detection()], [june, detection()])
    const after = given(state)
      .when(
        {
          type: 'VoidDetections',
          detections: [{ detectionId: uuid(), revision: 4, yearMonth: '2026-05', funding: 'credit', bucketKey: 'b' }],
        },
        june,
      )
      .records({ type: 'DetectionVoided' })
    expect(counters(after).totalCalls).toBe(1)
  })
  test('a replay is recorded once', () => {
    const state = history([may, registration()], [may, detection()])
    const replay = (replayed: boolean) =>
      ({
        type: 'ReplayDetection',
        keyId: keys.primary.keyId,
        detection: { detectionId: uuid(), revision: 4n, replayed },
      }) as const
    given(state).when(replay(false), later).records({ type: 'DetectionReplayed' })
    given(state).when(replay(true), later).records()
  })
})

describe('months', () => {
  const state = history([may, registration({ monthlyLimit: 1, hardCap: true })], [may, detection()])

  test('the first batch of a month begins with its opener; credits are granted anew and numbers restart', () => {
    given(state)
      .when(detection(), june)
      .records(
        {
          type: 'MonthlyCreditsGranted',
          data: { yearMonth: '2026-06', keys: { primary: { keyId: keys.primary.keyId } } },
        },
        { type: 'DetectionSucceeded', data: { sequence: 1, funding: 'credit', yearMonth: '2026-06' } },
      )
  })
  test('a fence that is the first of a month brings the opener too', () => {
    given(state)
      .when({ type: 'FenceAttempt', firstEventId: uuid() }, june)
      .records({ type: 'MonthlyCreditsGranted' }, { type: 'AttemptFenced' })
  })
  test('a refusal in a new month writes nothing, not even the opener', () => {
    given(state)
      .when(detection({ keyId: uuid() }), june)
      .refused('invalid_api_key')
  })
  test('the last millisecond of a month belongs to it', () => {
    given(state).when(detection(), '2026-05-31T23:59:59.999Z').refused('quota_exceeded')
  })
  test('a clock that lags is lifted to the stream’s last instant and refuses nothing', () => {
    const inJune = history([may, registration()], [june, detection()])
    given(inJune)
      .when(detection(), '2026-05-31T23:59:59.000Z')
      .records({ type: 'DetectionSucceeded', data: { occurredAt: june, yearMonth: '2026-06', sequence: 2 } })
  })
  test('an idle customer sees the new month before anything is written', () => {
    expect(counters(openMonth(state, june))).toEqual({ remainingCalls: 1, overLimitCalls: 0, totalCalls: 0 })
  })
  test('OpenMonth opens a month once', () => {
    const opened = given(state).when({ type: 'OpenMonth' }, june).records({ type: 'MonthlyCreditsGranted' })
    given(opened).when({ type: 'OpenMonth' }, june).records()
  })
})

describe('plans', () => {
  test('an upgrade takes effect at once, and calls paid as overage do not also take the new credits', () => {
    const state = history(
      [may, registration({ plan: 'starter', monthlyLimit: 1 })],
      [may, detection()],
      [may, detection()],
    )
    const upgraded = given(state)
      .when({ type: 'SetPlan', plan: 'professional', origin: 'operator', reason: 'asked' }, later)
      .records({ type: 'PlanChanged', data: { from: 'starter', plan: 'professional', overageUnitPrice: '0.12' } })
    expect(counters(upgraded)).toEqual({ remainingCalls: 9_999, overLimitCalls: 1, totalCalls: 2 })
  })
  test('more credits on the same plan are an upgrade, fewer wait for the next month', () => {
    const state = history([may, registration({ monthlyLimit: 100 })])
    const set = (monthlyLimit: number) =>
      ({ type: 'SetPlan', plan: 'standard', monthlyLimit, origin: 'operator', reason: 'contract' }) as const
    given(state)
      .when(set(200), later)
      .records({ type: 'MonthlyLimitChanged', data: { from: 100, monthlyLimit: 200 } })
    given(state)
      .when(set(50), later)
      .records({ type: 'PlanChangeScheduled', data: { monthlyLimit: 50, effectiveMonth: '2026-06' } })
  })
  test('the same downgrade again records nothing', () => {
    const set = { type: 'SetPlan', plan: 'starter', origin: 'operator', reason: 'asked' } as const
    given(history([may, registration()], [may, set]))
      .when(set, later)
      .records()
  })
  test('a downgrade is scheduled and takes effect in the opener of its month', () => {
    const state = history(
      [may, registration({ plan: 'business' })],
      [may, { type: 'SetPlan', plan: 'starter', origin: 'operator', reason: 'asked' }],
    )
    expect(state.terms.plan).toBe('business')
    given(state)
      .when(detection(), june)
      .records(
        { type: 'MonthlyCreditsGranted', data: { plan: 'starter', monthlyLimit: 1_000 } },
        { type: 'DetectionSucceeded' },
      )
  })
  test.each([
    ['2026-06-15T00:00:00.000Z', '2026-07'],
    ['2026-07-01T00:00:00.000Z', '2026-07'],
    ['2026-05-20T00:00:00.000Z', '2026-06'],
    ['2026-12-31T00:00:00.000Z', '2027-01'],
  ])('a downgrade under a contract until %s waits for %s', (termEnd, effectiveMonth) => {
    const licence = { kind: 'licence', awsAccountId: '123', licenceArn: 'arn:aws:lm:1', termEnd } as const
    given(history([may, registration({ licence })]))
      .when({ type: 'SetPlan', plan: 'starter', origin: 'marketplace', reason: 'amended' }, later)
      .records({ type: 'PlanChangeScheduled', data: { effectiveMonth } })
  })
  test('an operator’s scheduled change can be cancelled here, the marketplace’s cannot', () => {
    const scheduled = (origin: 'operator' | 'marketplace') =>
      history([may, registration()], [may, { type: 'SetPlan', plan: 'starter', origin, reason: 'asked' }])
    const cancel = { type: 'CancelScheduledPlanChange' } as const
    given(scheduled('operator'))
      .when(cancel, later)
      .records({ type: 'ScheduledPlanChangeCancelled', data: { plan: 'starter' } })
    given(scheduled('marketplace')).when(cancel, later).refused('scheduled_by_marketplace')
    given(history([may, registration()]))
      .when(cancel, later)
      .refused('nothing_scheduled')
  })
  test('a downgrade that is taken back in AWS before it took effect is cancelled; an operator’s own stays', () => {
    const scheduled = (origin: 'operator' | 'marketplace') =>
      history([may, registration()], [may, { type: 'SetPlan', plan: 'starter', origin, reason: 'asked' }])
    const back = { type: 'SetPlan', plan: 'standard', origin: 'marketplace', reason: 'amended' } as const
    given(scheduled('marketplace'))
      .when(back, later)
      .records({ type: 'ScheduledPlanChangeCancelled', data: { plan: 'starter' } })
    given(scheduled('operator')).when(back, later).records()
  })
  test('an operator who sets the present plan takes back their own downgrade, and is refused on the marketplace’s', () => {
    const scheduled = (origin: 'operator' | 'marketplace') =>
      history([may, registration()], [may, { type: 'SetPlan', plan: 'starter', origin, reason: 'asked' }])
    const stay = { type: 'SetPlan', plan: 'standard', origin: 'operator', reason: 'asked' } as const
    given(scheduled('operator'))
      .when(stay, later)
      .records({ type: 'ScheduledPlanChangeCancelled', data: { plan: 'starter', effectiveMonth: '2026-06' } })
    given(scheduled('marketplace')).when(stay, later).refused('scheduled_by_marketplace')
    given(history([may, registration()]))
      .when(stay, later)
      .records()
  })
  test('a limit that was agreed stays for an operator who names the present plan alone; AWS names what it means', () => {
    const set = { type: 'SetPlan', plan: 'standard', origin: 'operator', reason: 'asked' } as const
    const agreed = [may, registration({ monthlyLimit: 60_000 })] as const
    given(history(agreed)).when(set, later).records()
    given(history(agreed, [may, { ...set, plan: 'starter' }]))
      .when(set, later)
      .records({ type: 'ScheduledPlanChangeCancelled', data: { plan: 'starter' } })
    given(history(agreed))
      .when({ ...set, origin: 'marketplace' }, later)
      .records({ type: 'PlanChangeScheduled', data: { plan: 'standard', monthlyLimit: 5_000 } })
    given(history(agreed))
      .when({ ...set, plan: 'business' }, later)
      .records({ type: 'PlanChanged', data: { plan: 'business', monthlyLimit: 30_000 } })
  })
})

describe('the hard cap', () => {
  test('is an event when it changes and nothing when it does not', () => {
    const off = history([may, registration()])
    const on = given(off).when({ type: 'EnableHardCap' }, later).records({ type: 'HardCapEnabled' })
    given(on).when({ type: 'EnableHardCap' }, later).records()
    given(on).when({ type: 'DisableHardCap' }, later).records({ type: 'HardCapDisabled' })
    given(off).when({ type: 'DisableHardCap' }, later).records()
  })
  test('cannot be switched off on the free plan', () => {
    given(history([may, registration({ plan: 'free' })]))
      .when({ type: 'DisableHardCap' }, later)
      .refused('hard_cap_fixed')
  })
  test('stays ON for whoever leaves the free plan, though it was OFF on the plan before, and can be switched off then', () => {
    const set = (plan: 'free' | 'starter') => ({ type: 'SetPlan', plan, origin: 'operator', reason: 'asked' }) as const
    const free = history([may, registration()], [may, set('free')], [june, { type: 'OpenMonth' }])
    given(free).when({ type: 'EnableHardCap' }, june).records()
    const left = given(free)
      .when(set('starter'), june)
      .records({ type: 'HardCapEnabled' }, { type: 'PlanChanged', data: { from: 'free', plan: 'starter' } })
    expect(left.hardCap).toBe(true)
    given(left).when({ type: 'DisableHardCap' }, june).records({ type: 'HardCapDisabled' })
  })
  test('needs no event of its own where a customer began on the free plan', () => {
    const state = history([may, registration({ plan: 'free' })])
    const left = given(state)
      .when({ type: 'SetPlan', plan: 'starter', origin: 'marketplace', reason: 'bought' }, later)
      .records({ type: 'PlanChanged', data: { from: 'free', plan: 'starter' } })
    expect(left.hardCap).toBe(true)
  })
  test('reports no overage while it is ON', () => {
    const state = history([may, registration({ monthlyLimit: 1 })], [may, detection()], [may, detection()])
    const capped = given(state).when({ type: 'EnableHardCap' }, later).records({ type: 'HardCapEnabled' })
    expect(counters(capped)).toEqual({ remainingCalls: 0, overLimitCalls: 0, totalCalls: 2 })
  })
})

describe('keys and subscriptions', () => {
  test('a deactivated customer changes nothing any more', () => {
    const closed = history([may, registration()], [may, { type: 'DeactivateCustomer', reason: 'closed' }])
    given(closed).when({ type: 'EnableHardCap' }, later).refused('customer_deactivated')
    given(closed)
      .when({ type: 'RegenerateApiKey', slot: 'primary', key: newKey() }, later)
      .refused('customer_deactivated')
    given(closed)
      .when({ type: 'SetPlan', plan: 'business', origin: 'operator', reason: 'asked' }, later)
      .refused('customer_deactivated')
  })
  test('regeneration names the key it replaces; an empty slot gets its first key', () => {
    const state = history([may, registration()])
    given(state)
      .when({ type: 'RegenerateApiKey', slot: 'primary', key: newKey() }, later)
      .records({ type: 'ApiKeyRegenerated', data: { replacedKeyId: keys.primary.keyId } })
    given(history([may, registration({ keys: undefined })]))
      .when({ type: 'RegenerateApiKey', slot: 'primary', key: newKey() }, later)
      .records({ type: 'ApiKeyIssued', data: { slot: 'primary' } })
  })
  test('an end of another licence than the current one is ignored', () => {
    const other = { kind: 'licence', awsAccountId: '123', licenceArn: 'arn:aws:other' } as const
    given(history([may, registration()]))
      .when({ type: 'EndSubscription', licence: other, reason: 'x' }, later)
      .records()
  })
  describe('from a product code to a licence', () => {
    const legacy = { kind: 'product', productCode: 'product', customerIdentifier: 'buyer' } as const
    const licence = { kind: 'licence', awsAccountId: '123', licenceArn: 'arn:aws:lm:1' } as const
    const move = { type: 'ChangeLicence', licence, reason: 'renewed' } as const
    const end = { type: 'EndSubscription', licence: legacy, reason: 'cancelled' } as const
    const registered = [may, registration({ licence: legacy, monthlyLimit: 1 })] as const
    const at = (time: string) => `2026-05-04T${time}Z`
    const bucket = (name: string, hour: string) => ({
      type: 'DetectionSucceeded' as const,
      data: { bucketKey: `${customerId}|${name}|standard_over|2026-05-04T${hour}Z` },
    })

    test('a customer moves at the start of an hour, before its first call and after the last of the one before', () => {
      const moving = given(history(registered))
        .when(move, at('12:20:00.000'))
        .records({ type: 'LicenceChangeScheduled', data: { licence, effectiveAt: at('13:00:00.000') } })
      given(moving).when(move, at('12:21:00.000')).records()
      const last = given(moving).when(detection(), at('12:59:59.999')).records(bucket('product/buyer', '12'))
      const taken = given(last)
        .when(detection(), at('13:00:00.000'))
        .records({ type: 'LicenceChanged', data: { licence, reason: 'renewed' } }, bucket('arn:aws:lm:1', '13'))
      given(taken).when(detection(), at('13:00:00.000')).records(bucket('arn:aws:lm:1', '13'))
    })
    test('at the very start of an hour not at once, for calls of that instant may be billed already', () => {
      const called = given(history(registered))
        .when(detection(), at('13:00:00.000'))
        .records(bucket('product/buyer', '13'))
      const moving = given(called)
        .when(move, at('13:00:00.000'))
        .records({ type: 'LicenceChangeScheduled', data: { licence, effectiveAt: at('14:00:00.000') } })
      given(moving).when(detection(), at('13:00:00.000')).records(bucket('product/buyer', '13'))
    })
    test('by any command that writes, or when somebody only asks for it', () => {
      const moving = history(registered, [at('12:20:00.000'), move])
      expect(openMonth(moving, at('13:00:00.000')).licence).toEqual(licence)
      for (const command of [move, { type: 'OpenMonth' }] as const) {
        given(moving).when(command, at('13:10:00.000')).records({ type: 'LicenceChanged' })
      }
      given(moving).when({ type: 'Observe' }, at('13:10:00.000')).records()
      given(moving)
        .when({ type: 'FenceAttempt', firstEventId: uuid() }, at('13:10:00.000'))
        .records({ type: 'LicenceChanged' }, { type: 'AttemptFenced' })
    })
    test('at the end of a month behind the opener, which does not know of it', () => {
      const moving = history(registered, ['2026-05-31T23:30:00.000Z', move])
      const moved = given(moving)
        .when(detection(), june)
        .records(
          { type: 'MonthlyCreditsGranted', data: { licence: legacy } },
          { type: 'LicenceChanged' },
          {
            type: 'DetectionSucceeded',
          },
        )
      expect(moved.moving).toBeUndefined()
    })
    test('a new term of the old licence changes nothing of it, another licence takes its place', () => {
      const moving = history(registered, [at('12:20:00.000'), move])
      const term = { ...legacy, termEnd: '2026-07-01T00:00:00.000Z' }
      const after = given(moving)
        .when({ type: 'ChangeLicence', licence: term, reason: 'term' }, at('12:21:00.000'))
        .records({ type: 'LicenceChanged', data: { licence: term } })
      expect(after.moving?.licence).toEqual(licence)
      const other = { ...licence, licenceArn: 'arn:aws:lm:2' }
      const replaced = given(after)
        .when({ ...move, licence: other }, at('12:22:00.000'))
        .records({ type: 'LicenceChangeScheduled', data: { licence: other } })
      given(replaced)
        .when({ type: 'OpenMonth' }, at('13:00:00.000'))
        .records({ type: 'LicenceChanged', data: { licence: other } })
    })
    test('the old subscription ends meanwhile: no overage until the hour is over, then service goes on', () => {
      const ended = history(
        registered,
        [at('12:01:00.000'), detection()],
        [at('12:20:00.000'), move],
        [at('12:30:00.000'), end],
      )
      given(ended).when(detection(), at('12:40:00.000')).refused('quota_exceeded')
      given(ended)
        .when(detection(), at('13:00:00.000'))
        .records({ type: 'SubscriptionResumed', data: { licence } }, bucket('arn:aws:lm:1', '13'))
    })
    test('the new licence ends before it has taken over: nothing takes over', () => {
      const moving = history(registered, [at('12:20:00.000'), move])
      const ended = given(moving)
        .when({ ...end, licence }, at('12:30:00.000'))
        .records({ type: 'SubscriptionEnded', data: { licence } })
      given(ended).when({ type: 'OpenMonth' }, at('13:00:00.000')).records()
    })
    test('an ended subscription that goes on under a licence does so at the start of an hour', () => {
      const ended = history(registered, [at('12:10:00.000'), end])
      const moving = given(ended)
        .when({ type: 'ResumeSubscription', licence }, at('12:20:00.000'))
        .records({ type: 'LicenceChangeScheduled', data: { licence, effectiveAt: at('13:00:00.000') } })
      given(moving)
        .when({ type: 'ResumeSubscription', licence }, at('13:10:00.000'))
        .records({ type: 'SubscriptionResumed' })
    })
  })
  test('after an end, paid credits last the month, then keys are invalid until the subscription resumes', () => {
    const ended = history(
      [may, registration()],
      [may, { type: 'EndSubscription', licence: { kind: 'none' }, reason: 'cancelled' }],
    )
    given(ended)
      .when(detection(), '2026-05-31T23:59:59.999Z')
      .records({ type: 'DetectionSucceeded', data: { funding: 'credit' } })
    given(ended).when(detection(), june).refused('invalid_api_key')
    const resumed = given(ended)
      .when({ type: 'ResumeSubscription', licence: { kind: 'none' } }, june)
      .records({ type: 'MonthlyCreditsGranted' }, { type: 'SubscriptionResumed' })
    given(resumed).when(detection(), june).records({ type: 'DetectionSucceeded', data: { customerId } })
  })
})
