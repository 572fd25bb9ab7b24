"""Reads a topic of a running local cloud as its subscribers do.

    inbox.py TOPIC_ARN < the line that `cloud.py run` printed

Prints `subscribed`, then one JSON line, {"subject", "message"}, for each notification, until
standard output is closed or the process is ended.
"""

from __future__ import annotations

import json
import os
import secrets
import sys

import boto3

from cloud import Cloud


def main() -> None:
    cloud = Cloud.from_json(sys.stdin.readline())
    os.environ.update(cloud.environment)
    queues = boto3.client("sqs", endpoint_url=cloud.endpoint)
    queue = queues.create_queue(QueueName=f"inbox-{secrets.token_hex(4)}")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    boto3.client("sns", endpoint_url=cloud.endpoint).subscribe(TopicArn=sys.argv[1], Protocol="sqs", Endpoint=arn)
    print("subscribed", flush=True)
    while True:
        received = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10)
        for message in received.get("Messages", []):
            notification = json.loads(message["Body"])
            print(json.dumps({"subject": notification.get("Subject"), "message": notification["Message"]}), flush=True)
            queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


if __name__ == "__main__":
    main()
