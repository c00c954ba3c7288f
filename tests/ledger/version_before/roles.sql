-- What logins may do: execute the functions of their group, and read its views.
--
-- Tables are granted to nobody, and a function to no group unless it is named here. What
-- makes money and rights is for provisioners: a gateway that is broken into can spend no more
-- than there is. Nor can a provisioner place or settle a call.

REVOKE ALL ON SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;
REVOKE ALL ON ALL TABLES IN SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;

GRANT USAGE ON SCHEMA dialout TO dialout_gateway, dialout_provisioner;

GRANT EXECUTE ON FUNCTION
dialout.answered,
dialout.charge_micros,
dialout.claim,
dialout.destination_facts,
dialout.dropped,
dialout.extend,
dialout.inbound_rate,
dialout.is_released,
dialout.joined,
dialout.ledger_check_heads,
dialout.ledger_check_month,
dialout.ledger_check_sources,
dialout.ledger_heads,
dialout.month_list,
dialout.months_filed,
dialout.months_open,
dialout.numbers_forget,
dialout.organizer_facts,
dialout.organizer_tenants,
dialout.outbox_claim,
dialout.outbox_delivered,
dialout.outbox_failed,
dialout.outbox_sweep,
dialout.proof_claim,
dialout.proof_end,
dialout.proof_release,
dialout.rate_deck_find,
dialout.recent_number_forget,
dialout.recent_numbers,
dialout.refuse,
dialout.rehearse,
dialout.reserve,
dialout.seen,
dialout.settle,
dialout.void
TO dialout_gateway;
GRANT SELECT ON
dialout.balance,
dialout.dial_out_record,
dialout.dropped_call_list,
dialout.funding_part,
dialout.open_dial_out,
dialout.tenant_name
TO dialout_gateway;

GRANT EXECUTE ON FUNCTION
dialout.callee_clear,
dialout.credits_add,
dialout.licence_assign,
dialout.licence_end,
dialout.limit_put,
dialout.limit_remove,
dialout.meeting_put,
dialout.meeting_remove,
dialout.organizer_block_add,
dialout.organizer_block_lift,
dialout.organizer_put,
dialout.outbox_list,
dialout.outbox_retry,
dialout.policy_put,
dialout.prefix_put,
dialout.prefix_remove,
dialout.purchase_add,
dialout.rate_deck_put,
dialout.rate_deck_rates,
dialout.rate_draft,
dialout.recharge_failed,
dialout.recharge_put,
dialout.recharge_remove,
dialout.tenant_create,
dialout.tenant_lock,
dialout.tenant_update
TO dialout_provisioner;
GRANT SELECT ON
dialout.audit_list,
dialout.block_list,
dialout.callee_list,
dialout.country_list,
dialout.auto_recharge_list,
dialout.credit_list,
dialout.licence_list,
dialout.limit_list,
dialout.meeting_list,
dialout.organizer_list,
dialout.policy_list,
dialout.prefix_list,
dialout.purchase_list,
dialout.rate_deck_list,
dialout.recharge_list,
dialout.standing_list,
dialout.tenant_list,
dialout.usage_call,
dialout.usage_kept,
dialout.usage_refusal
TO dialout_provisioner;
