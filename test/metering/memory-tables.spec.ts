/** The tables in memory keep the same contract, so that what the simulation proves holds for Postgres. */
import { memoryTables } from '../support/memory-tables.ts'
import { meteringTablesContract } from './tables.contract.ts'

meteringTablesContract(async () => memoryTables())
