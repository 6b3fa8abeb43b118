// A subscriber in C++ that knows nothing of ours: prints what it receives, until its input ends. Compiled by tests/pairs.py.
#include <tango.h>

#include <iostream>
#include <mutex>

namespace {

std::mutex output;

void say(const std::string &line) {
    std::lock_guard<std::mutex> lock(output);
    std::cout << line << std::endl;
}

std::string name_of(const std::string &attribute) {
    const std::string name = attribute.substr(attribute.rfind('/') + 1);
    return name.substr(0, name.find('#'));
}

std::string describe(Tango::EventData *event) {
    if(event->err) {
        return std::string(event->errors[0].reason);
    }
    if(name_of(event->attr_name) == "text") {
        std::string text;
        *event->attr_value >> text;
        return text;
    }
    std::vector<double> values;
    *event->attr_value >> values;
    std::ostringstream text;
    text << std::fixed << std::setprecision(1);
    if(values.size() < 2) {
        text << (values.empty() ? 0.0 : values[0]);
    } else {
        text << "(" << values.size() << ", " << values.front() << ", " << values.back() << ")";
    }
    return text.str();
}

class Listener : public Tango::CallBack {
public:
    void push_event(Tango::EventData *event) override {
        say(event->event + " " + name_of(event->attr_name) + " " + describe(event));
    }
    void push_event(Tango::DataReadyEventData *event) override {
        say(event->event + " " + name_of(event->attr_name) + " " +
            (event->err ? std::string(event->errors[0].reason) : std::to_string(event->ctr)));
    }
};

} // namespace

int main(int, char **arguments) {
    try {
        Tango::DeviceProxy device(arguments[1]);
        Listener listener;
        for(const Tango::EventType kind : {Tango::CHANGE_EVENT, Tango::ARCHIVE_EVENT, Tango::USER_EVENT, Tango::DATA_READY_EVENT}) {
            device.subscribe_event("level", kind, &listener);
        }
        device.subscribe_event("text", Tango::CHANGE_EVENT, &listener);
        device.subscribe_event("spectrum", Tango::CHANGE_EVENT, &listener);
        say("subscribed");
        while(std::cin.get() != EOF) {
        }
        std::_Exit(0);
    } catch(Tango::DevFailed &error) {
        Tango::Except::print_exception(error);
        return 1;
    }
}
