"""OpenUSD stage to neutral scene."""
