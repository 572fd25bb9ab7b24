"""Runs ministack, the local stand-in for CloudFormation, Lambda and Step Functions."""

import ministack.app

import buckets
import distributed_map
import eventbridge
import ministack_patches
import secrets_manager

if __name__ == "__main__":
    ministack_patches.apply()
    distributed_map.apply()
    buckets.apply()
    secrets_manager.apply()
    eventbridge.apply()
    ministack.app.main()
