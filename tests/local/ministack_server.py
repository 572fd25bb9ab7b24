"""Runs ministack, the local stand-in for CloudFormation, Lambda and Step Functions."""

import ministack.app

if __name__ == "__main__":
    ministack.app.main()
