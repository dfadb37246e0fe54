"""Registers the credit methods with verl when it is imported.

With ``VERL_USE_EXTERNAL_MODULES=stepopsd_agent.adapters.verl_plugin`` each process of verl imports it.
"""

from stepopsd_agent.adapters.verl_credit import register_estimators

register_estimators()
