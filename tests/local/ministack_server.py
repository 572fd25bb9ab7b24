"""Runs ministack, the local stand-in for CloudFormation, Lambda and Step Functions."""

import ministack.app

import ministack_patches

if __name__ == "__main__":
    ministack_patches.apply()
    ministack.app.main()
