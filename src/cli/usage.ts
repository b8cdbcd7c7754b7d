import type { Command } from 'commander'
import { z } from 'zod'
import { monthOf } from '../commands/plans.ts'
import { usageOf } from '../readmodels/usage.ts'
import { upToDate } from './operate.ts'
import { argument, CommandError, customerIdArgument, print, printJson } from './output.ts'
import { withSystem } from './system.ts'
import { onOff, usageSentence, usageView } from './views.ts'

const month = argument(z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/), 'a month as YYYY-MM')

export function addUsageCommand(program: Command): void {
  program
    .command('usage')
    .description("a customer's calls of a UTC month, as GET /v1/usage reports them")
    .argument('<customer-id>', '', customerIdArgument)
    .option('--month <YYYY-MM>', 'default: the current one', month)
    .option('--json', 'one JSON object')
    .action((id: string, options: { month?: string; json?: true }) =>
      withSystem(async (system) => {
        await upToDate(system, id)
        const asked = options.month ?? monthOf(new Date().toISOString())
        const usage = await usageOf(system.pool, id, asked)
        if (usage === null) throw new CommandError(`Customer ${id} is unknown, or has nothing in ${asked}.`)
        const view = usageView(usage)
        if (options.json) return printJson(view)
        print(`${usageSentence(view)}. Plan ${view.plan}, hard cap ${onOff(view.hard_cap_enabled)}.`)
      }),
    )
}
